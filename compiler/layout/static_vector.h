// static_vector.h - a vector with room for N trivial elements inside itself: layouts are copied and compared by the
// thousand while a kernel is compiled, and none of that should touch the heap.
#pragma once
#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace tilejit::layout {

template <typename T, size_t N>
class StaticVector {
  static_assert(std::is_trivially_copyable_v<T>);

public:
  StaticVector() {}
  StaticVector(std::initializer_list<T> values) {
    for (const T& value : values) push_back(value);
  }
  StaticVector(const StaticVector& other) : size_(other.size_) { std::copy_n(other.data_, size_, data_); }
  StaticVector& operator=(const StaticVector& other) {
    size_ = other.size_;
    std::copy_n(other.data_, size_, data_);
    return *this;
  }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  T& back() { return data_[size_ - 1]; }
  const T& back() const { return data_[size_ - 1]; }
  operator std::span<const T>() const { return {data_, size_}; }

  void clear() { size_ = 0; }
  void push_back(const T& value) { insert(size_, value); }
  /// Throws std::length_error when the N places are taken.
  void insert(size_t at, const T& value) {
    if (size_ == N) throw std::length_error("a layout has room for " + std::to_string(N) + " digits and no more");
    const T copy = value;
    std::copy_backward(data_ + at, data_ + size_, data_ + size_ + 1);
    data_[at] = copy;
    ++size_;
  }
  void erase(size_t at) {
    std::copy(data_ + at + 1, data_ + size_, data_ + at);
    --size_;
  }
  bool operator==(const StaticVector& other) const { return std::equal(begin(), end(), other.begin(), other.end()); }

private:
  size_t size_ = 0;
  T data_[N];
};

} // namespace tilejit::layout

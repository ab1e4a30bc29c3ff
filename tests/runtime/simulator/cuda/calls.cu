// Calls: structures by value, recursion, pointers to functions, virtual functions, variadic functions, assert, malloc.
#include <cassert>
#include <cstdarg>
#include <cstdint>
#include <cstdio>

struct Point {
  double x, y, z;
  int tag;
  short small[3];
};
__device__ __noinline__ Point mix(Point a, Point b, float t) {
  Point r{a.x + (b.x - a.x) * t, a.y + (b.y - a.y) * t, a.z * b.z, a.tag ^ b.tag, {a.small[2], b.small[1], a.small[0]}};
  return r;
}
extern "C" __global__ void by_value(const Point* a, const Point* b, Point* out) {
  int i = threadIdx.x;
  out[i] = mix(a[i], b[i], 0.25f);
  if (i % 3 == 0) out[i] = mix(out[i], b[i], 0.5f); // by a part of the warp
}

__device__ __noinline__ int fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
__device__ __noinline__ bool is_odd(unsigned n);
__device__ __noinline__ bool is_even(unsigned n) { return n == 0 || is_odd(n - 1); }
__device__ __noinline__ bool is_odd(unsigned n) { return n != 0 && is_even(n - 1); }
__device__ __noinline__ unsigned ackermann(unsigned m, unsigned n) {
  return m == 0 ? n + 1 : n == 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1));
}
extern "C" __global__ void recursion(const int* in, int* out) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  out[3 * i] = fibonacci(in[i]);
  out[3 * i + 1] = is_even(in[i]) ? 10 : 20;
  out[3 * i + 2] = in[i] % 4 == 3 ? (int)ackermann(2, in[i] % 5) : -1;
}

// A stack that grows with the depth: each level has an array of its own.
__device__ __noinline__ int sum_of_levels(int depth, const int* outer) {
  int mine[8];
  for (int k = 0; k < 8; ++k) mine[k] = outer[(k + depth) & 7] + k;
  if (depth == 0) return mine[3];
  int below = sum_of_levels(depth - 1, mine);
  return below + mine[below & 7];
}
extern "C" __global__ void levels(const int* in, int* out) {
  int start[8];
  for (int k = 0; k < 8; ++k) start[k] = in[threadIdx.x] * k;
  out[threadIdx.x] = sum_of_levels(in[threadIdx.x] & 15, start);
}

// Sorts in place on the thread's own stack.
__device__ void sort(int* values, int first, int last) {
  if (last - first < 2) return;
  int pivot = values[(first + last) / 2], i = first, k = last - 1;
  while (i <= k) {
    while (values[i] < pivot) ++i;
    while (values[k] > pivot) --k;
    if (i <= k) {
      int t = values[i];
      values[i++] = values[k];
      values[k--] = t;
    }
  }
  sort(values, first, k + 1);
  sort(values, i, last);
}
extern "C" __global__ void sorts(const int* in, int* out) {
  int mine[24];
  for (int k = 0; k < 24; ++k) mine[k] = in[24 * threadIdx.x + k];
  sort(mine, 0, 24);
  for (int k = 0; k < 24; ++k) out[24 * threadIdx.x + k] = mine[k];
}

__device__ __noinline__ float twice(float x) { return 2 * x; }
__device__ __noinline__ float square(float x) { return x * x; }
__device__ __noinline__ float less_one(float x) { return x - 1; }
typedef float (*Unary)(float);
__device__ Unary unaries[3] = {twice, square, less_one};
__constant__ Unary first_unary = square;
__device__ __noinline__ float applied(Unary f, float x) { return f(f(x)); }

struct Shape {
  __device__ virtual float area() const = 0;
  __device__ virtual float scaled(float s) const { return area() * s * s; }
};
struct Square : Shape {
  float a;
  __device__ Square(float a) : a(a) {}
  __device__ float area() const override { return a * a; }
};
struct Circle : Shape {
  float r;
  __device__ Circle(float r) : r(r) {}
  __device__ float area() const override { return 3.f * r * r; }
  __device__ float scaled(float s) const override { return area() * s; }
};
extern "C" __global__ void pointers(const int* which, const float* in, float* out) {
  int i = threadIdx.x;
  out[4 * i] = unaries[which[i] % 3](in[i]);
  out[4 * i + 1] = applied(unaries[(which[i] + 1) % 3], in[i]);
  Square s(in[i]);
  Circle c(in[i]);
  const Shape* shape = which[i] & 1 ? (const Shape*)&s : (const Shape*)&c;
  out[4 * i + 2] = shape->scaled(2);
  out[4 * i + 3] = first_unary(in[i]);
}
extern "C" __global__ void wild_pointer(uint64_t address, float* out) { out[0] = ((Unary)address)(1.f); }

extern "C" __global__ void prints(int n) {
  int i = threadIdx.x;
  if (i < n)
    printf("block %d thread %2d: %s %5.2f|%-6d|%06x|%c|%lld|%e|%%|%.*f\n", blockIdx.x, i, i & 1 ? "odd" : "even",
           i * 0.5, i * 10, i * 255, 'a' + i, 1ll << (30 + i), i * 1e10, 2, i / 3.0);
  if (i == 0) printf("no arguments\n");
}
extern "C" __global__ void asserts(const int* in, int n) {
  assert(in[threadIdx.x] < n && "too large");
}
extern "C" __global__ void endless(int n, int* out) {
  out[threadIdx.x] = n == 0 ? 0 : sum_of_levels(1 << 30, out);
}

struct Node {
  int value;
  Node* next;
};
extern "C" __global__ void heap(const int* counts, int* out) {
  int i = threadIdx.x;
  Node* list = nullptr;
  for (int k = 0; k < counts[i]; ++k) {
    Node* node = (Node*)malloc(sizeof(Node));
    node->value = k * (i + 1);
    node->next = list;
    list = node;
  }
  int sum = 0;
  while (list) {
    Node* next = list->next;
    sum += list->value;
    free(list);
    list = next;
  }
  out[i] = sum;
}

// Callees that synchronize, and that exit.
__device__ __noinline__ int warp_sum(int x) {
  for (int d = 16; d; d /= 2) x += __shfl_xor_sync(~0u, x, d);
  return x;
}
__device__ __noinline__ void leave_if(bool leaves) {
  if (leaves) asm volatile("exit;");
}
__device__ __noinline__ int with_barrier(int* shared, int x) {
  shared[threadIdx.x] = x;
  __syncthreads();
  return shared[(threadIdx.x + 1) % blockDim.x];
}
extern "C" __global__ void together(const int* in, int* out) {
  __shared__ int shared[128];
  int i = threadIdx.x;
  int x = in[i];
  out[i] = warp_sum(x);
  out[i] += with_barrier(shared, x) + warp_sum(x & 3);
  leave_if(i % 5 == 0);
  out[i] += 1000;
}
extern "C" __global__ void variable_stack(const int* in, int* out) {
  int i = threadIdx.x, n = in[i] % 20 + 1;
  int* mine = (int*)alloca(n * sizeof(int));
  for (int k = 0; k < n; ++k) mine[k] = k * k + i;
  int* more = (int*)alloca(n * 8);
  for (int k = 0; k < 2 * n; ++k) more[k] = mine[k % n] + 1;
  int sum = 0;
  for (int k = 0; k < 2 * n; ++k) sum += more[k];
  out[i] = sum - mine[n - 1];
}

// elements.h - the element types of arrays in device memory, and how .npy files become them and come back.
//
// A type that NumPy has lies in the file as it is; bf16 and the 8-bit floats are float32 there. Where a file holds
// another type than the device, values are converted: floats are rounded to nearest even (8-bit floats saturate, as
// cvt.satfinite does), integers and floats become integers only where that loses nothing.
#pragma once
#include "runtime/npy.h"

#include <optional>
#include <span>

namespace tilejit::tools {

enum class Element : uint8_t { i8, i16, i32, i64, u8, u16, u32, u64, f16, bf16, f8e4m3, f8e5m2, f32, f64 };
std::string_view name_of(Element type);
size_t bytes_of(Element type);
/// Throws InputError for a name that is none of the above.
Element parse_element(const std::string& name);
/// The type whose elements lie in a file as they are; throws InputError where there is none ("<c8").
Element element_of(const runtime::NpyFile& file, const std::string& path);

/// A file's elements as `type`; throws InputError where a value does not fit.
std::vector<std::byte> to_device(const runtime::NpyFile& file, Element type, const std::string& path);
/// Elements of `type` as a file of `descr`; empty: NumPy's own type for it, or float32.
runtime::NpyFile from_device(std::span<const std::byte> elements, Element type, const std::vector<int64_t>& shape,
                             const std::string& descr = "");

} // namespace tilejit::tools

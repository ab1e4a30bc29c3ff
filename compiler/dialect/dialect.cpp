#include "compiler/dialect/dialect.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

#include "compiler/dialect/TileDialect.cpp.inc"
#include "compiler/dialect/TileEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "compiler/dialect/TileAttributes.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "compiler/dialect/TileTypes.cpp.inc"

using namespace mlir;

namespace tilejit::tile {

void TileDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "compiler/dialect/TileAttributes.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "compiler/dialect/TileTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "compiler/dialect/TileOps.cpp.inc"
      >();
}

void register_dialects(DialectRegistry& registry) {
  registry.insert<TileDialect, arith::ArithDialect, math::MathDialect, scf::SCFDialect, func::FuncDialect>();
}

// The attributes of a kernel's function (dialect.h).
LogicalResult TileDialect::verifyOperationAttribute(Operation* op, NamedAttribute attribute) {
  auto is_i32_from = [&](int64_t least, int64_t most) {
    auto number = dyn_cast<IntegerAttr>(attribute.getValue());
    return number && number.getType().isInteger(32) && number.getInt() >= least && number.getInt() <= most;
  };
  StringRef name = attribute.getName();
  if (name == kernel_attr && !isa<func::FuncOp>(op)) return op->emitError() << name << " is for functions";
  if (name == warps_attr && !is_i32_from(1, 32)) return op->emitError() << name << " must be an i32 from 1 to 32";
  if (name == stages_attr && !is_i32_from(1, INT32_MAX)) return op->emitError() << name << " must be a positive i32";
  if (name == target_attr && !isa<StringAttr>(attribute.getValue()))
    return op->emitError() << name << " must be a string";
  return success();
}

// A layout in quotes; a text that is no layout is an error at the attribute.
static FailureOr<layout::Layout> parse_layout(AsmParser& parser) {
  std::string text;
  SMLoc where = parser.getCurrentLocation();
  if (parser.parseString(&text)) return failure();
  try {
    return layout::Layout::parse(text);
  } catch (const std::exception& error) {
    parser.emitError(where, error.what());
    return failure();
  }
}

Attribute LayoutAttr::parse(AsmParser& parser, Type) {
  if (parser.parseLess()) return {};
  FailureOr<layout::Layout> layout = parse_layout(parser);
  if (failed(layout) || parser.parseGreater()) return {};
  return LayoutAttr::get(parser.getContext(), *layout);
}

void LayoutAttr::print(AsmPrinter& printer) const { printer << "<\"" << getValue().str() << "\">"; }

// One size or stride: a number or `?`.
static ParseResult parse_extent(AsmParser& parser, SmallVectorImpl<int64_t>& values) {
  if (succeeded(parser.parseOptionalQuestion())) {
    values.push_back(ShapedType::kDynamic);
    return success();
  }
  return parser.parseInteger(values.emplace_back());
}

static void print_extent(AsmPrinter& printer, int64_t value) {
  if (ShapedType::isDynamic(value))
    printer << "?";
  else
    printer << value;
}

Type ViewType::parse(AsmParser& parser) {
  SmallVector<int64_t> shape, strides;
  Type element;
  unsigned align = 1;
  SMLoc where = parser.getCurrentLocation();
  if (parser.parseLess() || parser.parseDimensionList(shape) || parser.parseType(element) || parser.parseComma() ||
      parser.parseKeyword("strides") || parser.parseEqual() ||
      parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, [&] { return parse_extent(parser, strides); }) ||
      parser.parseComma() || parser.parseKeyword("align") || parser.parseEqual() || parser.parseInteger(align) ||
      parser.parseGreater())
    return {};
  return getChecked([&] { return parser.emitError(where); }, parser.getContext(), shape, strides, element, align);
}

void ViewType::print(AsmPrinter& printer) const {
  printer << "<";
  for (int64_t size : getShape()) {
    print_extent(printer, size);
    printer << "x";
  }
  printer << getElementType() << ", strides = [";
  llvm::interleaveComma(getStrides(), printer, [&](int64_t stride) { print_extent(printer, stride); });
  printer << "], align = " << getAlign() << ">";
}

LogicalResult ViewType::verify(function_ref<InFlightDiagnostic()> error, ArrayRef<int64_t> shape,
                               ArrayRef<int64_t> strides, Type element, unsigned align) {
  if (shape.size() != strides.size())
    return error() << "a view has one stride a dim, here " << strides.size() << " for " << shape.size();
  if (align == 0 || (align & (align - 1))) return error() << "align must be a power of two, not " << align;
  if (!element.isIntOrFloat()) return error() << "a view's elements are integers or floats, not " << element;
  return success();
}

int ViewType::getContiguousDim() const {
  for (int dim = getRank() - 1; dim >= 0; --dim)
    if (getStrides()[dim] == 1) return dim;
  return -1;
}

Type SharedType::parse(AsmParser& parser) {
  SmallVector<int64_t> shape;
  Type element;
  unsigned slots = 1;
  if (parser.parseLess() || parser.parseDimensionList(shape, /*allowDynamic=*/false) || parser.parseType(element) ||
      parser.parseComma())
    return {};
  FailureOr<layout::Layout> layout = parse_layout(parser);
  if (failed(layout)) return {};
  if (succeeded(parser.parseOptionalComma()) &&
      (parser.parseKeyword("slots") || parser.parseEqual() || parser.parseInteger(slots)))
    return {};
  if (parser.parseGreater()) return {};
  return get(parser.getContext(), shape, element, *layout, slots);
}

void SharedType::print(AsmPrinter& printer) const {
  printer << "<";
  for (int64_t size : getShape()) printer << size << "x";
  printer << getElementType() << ", \"" << getLayout().str() << "\"";
  if (getSlots() != 1) printer << ", slots = " << getSlots();
  printer << ">";
}

uint64_t SharedType::getSlotBytes() const {
  // Offsets may have gaps (padding), so the extent is the last offset, not the number of elements.
  uint64_t elements = 1;
  for (const layout::Digit& digit : getLayout().digits()) elements += uint64_t(digit.radix - 1) * digit.stride;
  uint64_t bytes = elements * element_bits(getElementType()) / 8;
  uint64_t unit = getSlots() > 1 ? 1024 : 16;
  return (bytes + unit - 1) / unit * unit;
}

} // namespace tilejit::tile

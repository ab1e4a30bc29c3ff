#include "dsl/recorder.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;

namespace tilejit::dsl {
namespace {

// A dim or axis, counted from the end where it is negative; `count` of them exist.
int64_t resolve(llvm::StringRef what, int64_t dim, int64_t count, const Location& where, const std::string& of) {
  int64_t resolved = dim < 0 ? dim + count : dim;
  if (resolved < 0 || resolved >= count)
    throw Error(where, (what + ": there is no dim " + llvm::Twine(dim) + " in " + of).str());
  return resolved;
}

[[noreturn]] void refuse(llvm::StringRef what, const Location& where, Type type, llvm::StringRef needs) {
  throw Error(where, (what + " needs " + needs + ", not " + Recorder::describe(type)).str());
}

// The shapes that authors give: up to four dims of at least 1.
void check_shape(llvm::StringRef what, const Shape& shape, const Location& where) {
  if (shape.size() > 4) throw Error(where, (what + ": a tile has at most 4 dims").str());
  for (int64_t size : shape)
    if (size < 1) throw Error(where, (what + ": sizes of a tile are at least 1, not " + llvm::Twine(size)).str());
}

bool is_float(Value value) { return isa<FloatType>(Recorder::element_of(value.getType())); }
bool is_bool(Value value) { return Recorder::element_of(value.getType()).isInteger(1); }

// ---- element by element: one shape for all operations -------------------------------------------------------------

// a op b, for numbers: `Float` where the elements are floats, `Integer` where they are integers.
template <typename Float, typename Integer>
Tile arithmetic(llvm::StringRef what, const Operand& a, const Operand& b) {
  Recorder& recorder = Recorder::current(a.where());
  SmallVector<Value> v = recorder.unify(what, {&a, &b});
  if (is_bool(v[0])) refuse(what, a.where(), v[0].getType(), "numbers (convert with .to(i32))");
  if (is_float(v[0])) return recorder.tile(recorder.add<Float>(a.where(), v[0], v[1]));
  return recorder.tile(recorder.add<Integer>(a.where(), v[0], v[1]));
}

template <typename Op>
Tile integers(llvm::StringRef what, const Operand& a, const Operand& b) {
  Recorder& recorder = Recorder::current(a.where());
  SmallVector<Value> v = recorder.unify(what, {&a, &b});
  if (is_float(v[0]) || is_bool(v[0])) refuse(what, a.where(), v[0].getType(), "integers");
  return recorder.tile(recorder.add<Op>(a.where(), v[0], v[1]));
}

template <typename Op>
Tile booleans(llvm::StringRef what, const Operand& a, const Operand& b) {
  Recorder& recorder = Recorder::current(a.where());
  SmallVector<Value> v = recorder.unify(what, {&a, &b});
  if (!is_bool(v[0])) refuse(what, a.where(), v[0].getType(), "i1 on both sides");
  return recorder.tile(recorder.add<Op>(a.where(), v[0], v[1]));
}

template <typename Op>
Tile floats(llvm::StringRef what, const Operand& x) {
  Recorder& recorder = Recorder::current(x.where());
  Value v = recorder.unify(what, {&x})[0];
  if (!is_float(v)) refuse(what, x.where(), v.getType(), "floats (convert with .to(f32))");
  if (Recorder::element_of(v.getType()).isF64())
    refuse(what, x.where(), v.getType(), "f16, bf16 or f32 (convert with .to(f32))");
  return recorder.tile(recorder.add<Op>(x.where(), v));
}

Tile compare(llvm::StringRef what, const Operand& a, const Operand& b, arith::CmpFPredicate for_floats,
             arith::CmpIPredicate for_integers) {
  Recorder& recorder = Recorder::current(a.where());
  SmallVector<Value> v = recorder.unify(what, {&a, &b});
  bool ordered = for_integers != arith::CmpIPredicate::eq && for_integers != arith::CmpIPredicate::ne;
  if (ordered && is_bool(v[0])) refuse(what, a.where(), v[0].getType(), "numbers");
  if (is_float(v[0])) return recorder.tile(recorder.add<arith::CmpFOp>(a.where(), for_floats, v[0], v[1]));
  return recorder.tile(recorder.add<arith::CmpIOp>(a.where(), for_integers, v[0], v[1]));
}

} // namespace

Tile operator+(const Operand& a, const Operand& b) { return arithmetic<arith::AddFOp, arith::AddIOp>("+", a, b); }
Tile operator-(const Operand& a, const Operand& b) { return arithmetic<arith::SubFOp, arith::SubIOp>("-", a, b); }
Tile operator*(const Operand& a, const Operand& b) { return arithmetic<arith::MulFOp, arith::MulIOp>("*", a, b); }
Tile operator/(const Operand& a, const Operand& b) { return arithmetic<arith::DivFOp, arith::DivSIOp>("/", a, b); }
Tile operator%(const Operand& a, const Operand& b) { return integers<arith::RemSIOp>("%", a, b); }
Tile max(const Operand& a, const Operand& b) { return arithmetic<arith::MaxNumFOp, arith::MaxSIOp>("max", a, b); }
Tile min(const Operand& a, const Operand& b) { return arithmetic<arith::MinNumFOp, arith::MinSIOp>("min", a, b); }

Tile operator&(const Operand& a, const Operand& b) { return integers<arith::AndIOp>("&", a, b); }
Tile operator|(const Operand& a, const Operand& b) { return integers<arith::OrIOp>("|", a, b); }
Tile operator^(const Operand& a, const Operand& b) { return integers<arith::XOrIOp>("^", a, b); }
Tile operator<<(const Operand& a, const Operand& b) { return integers<arith::ShLIOp>("<<", a, b); }
Tile operator>>(const Operand& a, const Operand& b) { return integers<arith::ShRSIOp>(">>", a, b); }

Tile operator&&(const Operand& a, const Operand& b) { return booleans<arith::AndIOp>("&&", a, b); }
Tile operator||(const Operand& a, const Operand& b) { return booleans<arith::OrIOp>("||", a, b); }
Tile operator!(const Operand& x) {
  Recorder& recorder = Recorder::current(x.where());
  Value v = recorder.value(x);
  if (!is_bool(v)) refuse("!", x.where(), v.getType(), "i1");
  return recorder.tile(recorder.add<arith::XOrIOp>(x.where(), v, recorder.constant("!", true, v.getType(), x.where())));
}

using Float = arith::CmpFPredicate;
using Integer = arith::CmpIPredicate;
Tile operator==(const Operand& a, const Operand& b) { return compare("==", a, b, Float::OEQ, Integer::eq); }
Tile operator!=(const Operand& a, const Operand& b) { return compare("!=", a, b, Float::UNE, Integer::ne); }
Tile operator<(const Operand& a, const Operand& b) { return compare("<", a, b, Float::OLT, Integer::slt); }
Tile operator<=(const Operand& a, const Operand& b) { return compare("<=", a, b, Float::OLE, Integer::sle); }
Tile operator>(const Operand& a, const Operand& b) { return compare(">", a, b, Float::OGT, Integer::sgt); }
Tile operator>=(const Operand& a, const Operand& b) { return compare(">=", a, b, Float::OGE, Integer::sge); }

Tile exp(const Operand& x) { return floats<math::ExpOp>("exp", x); }
Tile exp2(const Operand& x) { return floats<math::Exp2Op>("exp2", x); }
Tile log(const Operand& x) { return floats<math::LogOp>("log", x); }
Tile log2(const Operand& x) { return floats<math::Log2Op>("log2", x); }
Tile sqrt(const Operand& x) { return floats<math::SqrtOp>("sqrt", x); }
Tile rsqrt(const Operand& x) { return floats<math::RsqrtOp>("rsqrt", x); }
Tile tanh(const Operand& x) { return floats<math::TanhOp>("tanh", x); }

Tile abs(const Operand& x) {
  Recorder& recorder = Recorder::current(x.where());
  Value v = recorder.unify("abs", {&x})[0];
  if (is_bool(v)) refuse("abs", x.where(), v.getType(), "numbers");
  if (is_float(v)) return recorder.tile(recorder.add<math::AbsFOp>(x.where(), v));
  return max(x, Operand(-x, x.where()));
}

Tile operator-(const Operand& x) {
  Recorder& recorder = Recorder::current(x.where());
  Value v = recorder.unify("-", {&x})[0];
  if (is_float(v)) return recorder.tile(recorder.add<arith::NegFOp>(x.where(), v));
  return Operand(0, x.where()) - x;
}

Tile cdiv(const Operand& a, const Operand& b) {
  const Location& where = a.where();
  return integers<arith::DivSIOp>("cdiv", Operand(a + (Operand(b) - Operand(1, where)), where), b);
}

Tile fma(const Operand& a, const Operand& b, const Operand& c) {
  Recorder& recorder = Recorder::current(a.where());
  SmallVector<Value> v = recorder.unify("fma", {&a, &b, &c});
  if (!is_float(v[0])) refuse("fma", a.where(), v[0].getType(), "floats");
  return recorder.tile(recorder.add<math::FmaOp>(a.where(), v[0], v[1], v[2]));
}

Tile select(const Operand& condition, const Operand& yes, const Operand& no) {
  const Location& where = condition.where();
  Recorder& recorder = Recorder::current(where);
  SmallVector<Value> v = recorder.unify_types("select", {&yes, &no});
  v.push_back(recorder.value(condition));
  if (!is_bool(v[2])) refuse("select", where, v[2].getType(), "an i1 condition");
  recorder.unify_shapes("select", where, v);
  return recorder.tile(recorder.add<arith::SelectOp>(where, v[2], v[0], v[1]));
}

// ---- tiles out of nothing ------------------------------------------------------------------------------------------

Tile iota(int64_t n, const Location& where) {
  Recorder& recorder = Recorder::current(where);
  check_shape("iota", {n}, where);
  return recorder.tile(recorder.add<tile::IotaOp>(where, RankedTensorType::get({n}, recorder.element(DType::i32))));
}

Tile full(DType type, const Shape& shape, const Operand& value) {
  Recorder& recorder = Recorder::current(value.where());
  check_shape("full", shape, value.where());
  Value scalar = recorder.value(value, recorder.element(type));
  if (scalar.getType() != recorder.element(type))
    refuse("full", value.where(), scalar.getType(), std::string(name_of(type)) + " scalar");
  return recorder.tile(recorder.broadcast("full", value.where(), scalar, shape));
}

Tile zeros(DType type, const Shape& shape, const Location& where) { return full(type, shape, Operand(0, where)); }

Index program_id(int axis, const Location& where) {
  Recorder& recorder = Recorder::current(where);
  if (axis < 0 || axis > 2) throw Error(where, "program_id: a grid has axes 0, 1 and 2, not " + std::to_string(axis));
  return recorder.tile(recorder.add<tile::ProgramIdOp>(where, recorder.element(DType::i32), axis));
}

// ---- Tile ----------------------------------------------------------------------------------------------------------

Tile Tile::constant(Literal value, const Location& where) {
  Recorder& recorder = Recorder::current(where);
  return recorder.tile(recorder.literal(value, where));
}

static Type type_of(const Tile& tile, const Location& where) {
  return Recorder::current(where).value(tile, where).getType();
}

DType Tile::type(const Location& where) const { return Recorder::dtype_of(type_of(*this, where)); }
Shape Tile::shape(const Location& where) const {
  SmallVector<int64_t> shape = Recorder::shape_of(type_of(*this, where));
  return Shape(shape.begin(), shape.end());
}

int64_t Tile::size(int dim, const Location& where) const {
  Shape all = shape(where);
  return all[resolve("size", dim, all.size(), where, Recorder::describe(type_of(*this, where)))];
}

Tile Tile::to(DType type, const Location& where) const {
  Recorder& recorder = Recorder::current(where);
  return recorder.tile(recorder.cast(recorder.value(*this, where), recorder.element(type), where));
}

Tile Tile::expand(int dim, const Location& where) const {
  Recorder& recorder = Recorder::current(where);
  Value value = recorder.value(*this, where);
  SmallVector<int64_t> shape = Recorder::shape_of(value.getType());
  if (shape.size() == 4) refuse("expand", where, value.getType(), "a tile of at most 3 dims");
  int64_t at = resolve("expand", dim, shape.size() + 1, where, "the result of " + Recorder::describe(value.getType()));
  shape.insert(shape.begin() + at, 1);
  if (!isa<RankedTensorType>(value.getType())) return recorder.tile(recorder.broadcast("expand", where, value, shape));
  auto type = RankedTensorType::get(shape, Recorder::element_of(value.getType()));
  return recorder.tile(recorder.add<tile::ExpandDimsOp>(where, type, value, at));
}

Tile Tile::column(const Location& where) const {
  if (rank(where) != 1) refuse("column", where, type_of(*this, where), "a tile of one dim");
  return expand(1, where);
}

Tile Tile::row(const Location& where) const {
  if (rank(where) != 1) refuse("row", where, type_of(*this, where), "a tile of one dim");
  return expand(0, where);
}

Tile Tile::broadcast(const Shape& shape, const Location& where) const {
  Recorder& recorder = Recorder::current(where);
  check_shape("broadcast", shape, where);
  return recorder.tile(recorder.broadcast("broadcast", where, recorder.value(*this, where), shape));
}

// ---- Var -----------------------------------------------------------------------------------------------------------

Var::Var(const Tile& value) : Tile(value), slot_(no_slot) {
  if (Recorder* recorder = Recorder::find(recording_)) slot_ = recorder->add_variable(this);
}

Var::Var(Var&& other) noexcept : Tile(other), slot_(std::exchange(other.slot_, no_slot)) {
  if (slot_ == no_slot) return;
  if (Recorder* recorder = Recorder::find(recording_)) recorder->move_variable(slot_, this);
}

Var::~Var() {
  if (slot_ == no_slot) return;
  if (Recorder* recorder = Recorder::find(recording_)) recorder->move_variable(slot_, nullptr);
}

Var& Var::operator=(const Operand& value) & {
  Recorder::current(value.where()).assign(*this, value);
  return *this;
}
Var& Var::operator+=(const Operand& value) & {
  return *this = Operand(Operand(*this, value.where()) + value, value.where());
}
Var& Var::operator-=(const Operand& value) & {
  return *this = Operand(Operand(*this, value.where()) - value, value.where());
}
Var& Var::operator*=(const Operand& value) & {
  return *this = Operand(Operand(*this, value.where()) * value, value.where());
}
Var& Var::operator/=(const Operand& value) & {
  return *this = Operand(Operand(*this, value.where()) / value, value.where());
}

// ---- whole tiles ---------------------------------------------------------------------------------------------------

static Tile record_dot(const Operand& a_tile, const Operand& b_tile, const Operand* acc_tile, Precision precision) {
  const Location& where = a_tile.where();
  Recorder& recorder = Recorder::current(where);
  Value a = recorder.value(a_tile), b = recorder.value(b_tile);
  Type a_type = a.getType(), b_type = b.getType(), element = Recorder::element_of(a_type);
  SmallVector<int64_t> as = Recorder::shape_of(a_type), bs = Recorder::shape_of(b_type);
  std::string both = Recorder::describe(a_type) + " times " + Recorder::describe(b_type);
  if (as.size() != 2 || bs.size() != 2) throw Error(where, "dot needs two tiles of two dims, not " + both);
  if (element != Recorder::element_of(b_type))
    throw Error(where, "dot: element types differ: " + both + "; convert one with .to(...)");
  if (!element.isBF16() && !element.isF16() && !element.isF32())
    throw Error(where, "dot multiplies bf16, f16 or f32, not " + both);
  if (as[1] != bs[0])
    throw Error(where, "dot: inner sizes differ: " + both + (as[1] == bs[1] ? "; transpose the second operand?" : ""));
  int64_t step = element.isF32() ? 8 : 16;
  if (as[0] % 16 || bs[1] % 8 || as[1] % step)
    throw Error(where, "dot [M, K] times [K, N] needs M a multiple of 16, N of 8 and K of " + std::to_string(step) +
                           ", not " + both);
  auto type = RankedTensorType::get({as[0], bs[1]}, recorder.element(DType::f32));
  Value acc;
  if (acc_tile && (acc_tile->is_tile()))
    acc = recorder.value(*acc_tile);
  else
    acc = recorder.constant("dot", acc_tile ? acc_tile->literal() : Literal(0), type, where);
  if (acc.getType() != type)
    throw Error(where,
                "dot: the sum is " + Recorder::describe(type) + ", but acc is " + Recorder::describe(acc.getType()));
  auto how = precision == Precision::tf32 ? tile::Precision::tf32 : tile::Precision::tf32x3;
  return recorder.tile(recorder.add<tile::DotOp>(where, a, b, acc, how));
}

Tile dot(const Operand& a, const Operand& b, Precision precision) { return record_dot(a, b, nullptr, precision); }
Tile dot(const Operand& a, const Operand& b, const Operand& acc, Precision precision) {
  return record_dot(a, b, &acc, precision);
}

Tile permute(const Operand& x, const std::vector<int>& order) {
  const Location& where = x.where();
  Recorder& recorder = Recorder::current(where);
  Value value = recorder.value(x);
  SmallVector<int64_t> from = Recorder::shape_of(value.getType()), to;
  SmallVector<int32_t> permutation;
  for (int dim : order) {
    int64_t d = resolve("permute", dim, from.size(), where, Recorder::describe(value.getType()));
    if (!llvm::is_contained(permutation, d)) permutation.push_back(d), to.push_back(from[d]);
  }
  if (permutation.size() != from.size() || order.size() != from.size())
    refuse("permute", where, value.getType(), "each dim of the tile once");
  auto type = RankedTensorType::get(to, Recorder::element_of(value.getType()));
  return recorder.tile(recorder.add<tile::TransposeOp>(where, type, value, permutation));
}

Tile transpose(const Operand& x) {
  Recorder& recorder = Recorder::current(x.where());
  Type type = recorder.value(x).getType();
  if (Recorder::shape_of(type).size() != 2) refuse("transpose", x.where(), type, "a tile of two dims (see permute)");
  return permute(x, {1, 0});
}

// ---- reductions ----------------------------------------------------------------------------------------------------

static std::vector<Tile> record_reduce(llvm::StringRef what, ArrayRef<Value> sources, int axis, const Location& where,
                                       const CombineMany& combine) {
  Recorder& recorder = Recorder::current(where);
  if (sources.empty()) throw Error(where, (what + " needs at least one tile").str());
  SmallVector<int64_t> shape = Recorder::shape_of(sources[0].getType());
  if (shape.empty()) refuse(what, where, sources[0].getType(), "a tile with at least one dim");
  int64_t at = resolve(what, axis, shape.size(), where, Recorder::describe(sources[0].getType()));
  SmallVector<int64_t> left = shape;
  left.erase(left.begin() + at);
  SmallVector<Type> types, elements;
  for (Value source : sources) {
    if (Recorder::shape_of(source.getType()) != shape)
      throw Error(where, (what + ": shapes differ: " + Recorder::describe(sources[0].getType()) + " and " +
                          Recorder::describe(source.getType()))
                             .str());
    elements.push_back(Recorder::element_of(source.getType()));
    types.push_back(RankedTensorType::get(left, elements.back()));
  }
  if (recorder.in_combine()) throw Error(where, (what + ": a combine function can't reduce").str());
  auto op = tile::ReduceOp::create(recorder.builder, recorder.location(where), types, sources, ValueRange(), at);
  recorder.combine(op.getCombine(), elements, where, combine);
  std::vector<Tile> results;
  for (Value result : op.getResults()) results.push_back(recorder.tile(result));
  return results;
}

static Tile reduce_one(llvm::StringRef what, const Operand& x, int axis, const Combine& combine) {
  Recorder& recorder = Recorder::current(x.where());
  return record_reduce(what, recorder.value(x), axis, x.where(),
                       [&](const auto& a, const auto& b) { return std::vector<Tile>{combine(a[0], b[0])}; })[0];
}

Tile reduce(const Operand& x, int axis, const Combine& combine) { return reduce_one("reduce", x, axis, combine); }

std::vector<Tile> reduce(const std::vector<Tile>& tiles, int axis, const CombineMany& combine, const Location& where) {
  Recorder& recorder = Recorder::current(where);
  SmallVector<Value> values;
  for (const Tile& tile : tiles) values.push_back(recorder.value(tile, where));
  return record_reduce("reduce", values, axis, where, combine);
}

// A reduction by an operation of numbers.
static Tile reduce_numbers(llvm::StringRef what, const Operand& x, int axis, const Combine& combine) {
  Value value = Recorder::current(x.where()).value(x);
  if (is_bool(value)) refuse(what, x.where(), value.getType(), "numbers (convert with .to(i32))");
  return reduce_one(what, x, axis, combine);
}

Tile sum(const Operand& x, int axis) {
  const Location& where = x.where();
  Recorder& recorder = Recorder::current(where);
  Tile tile = recorder.tile(recorder.value(x));
  auto add = [&](const Scalar& a, const Scalar& b) { return Operand(a, where) + b; };
  if (tile.type(where) != f16 && tile.type(where) != bf16)
    return reduce_numbers("sum", Operand(tile, where), axis, add);
  return reduce_numbers("sum", Operand(tile.to(f32, where), where), axis, add).to(tile.type(where), where);
}

Tile reduce_max(const Operand& x, int axis) {
  return reduce_numbers("reduce_max", x, axis, [&](auto& a, auto& b) { return max(Operand(a, x.where()), b); });
}
Tile reduce_min(const Operand& x, int axis) {
  return reduce_numbers("reduce_min", x, axis, [&](auto& a, auto& b) { return min(Operand(a, x.where()), b); });
}

} // namespace tilejit::dsl

#include "dsl/recorder.h"

using namespace mlir;

namespace tilejit::dsl {
namespace {

const ArgumentSpec& spec_of(uint64_t recording, uint32_t argument, const Location& where) {
  Recorder& recorder = Recorder::current(where);
  if (recorder.id() != recording) throw Error(where, "this view belongs to another recording");
  return recorder.specs()[argument];
}

std::string describe(const ArgumentSpec& spec) {
  auto extent = [](int64_t n) { return n == dynamic ? std::string("?") : std::to_string(n); };
  return "view '" + spec.name + "' of " + std::string(name_of(spec.type)) + " [" +
         llvm::join(llvm::map_range(spec.shape, extent), ", ") + "]";
}

// A window's place as the operands of a memory operation.
struct Place {
  Value view;
  SmallVector<Value> indices;
  SmallVector<int32_t> dims;
  RankedTensorType type; ///< of the tile
};

Place place(const Window& window, llvm::StringRef what, const Location& where) {
  using Access = Recorder::Access;
  Recorder& recorder = Recorder::current(where);
  const ArgumentSpec& spec = spec_of(Access::recording(window), Access::argument(window), where);
  const std::vector<Coordinate>& coordinates = Access::coordinates(window);
  if (recorder.in_combine()) throw Error(where, (what + ": a combine function can't use memory").str());
  if (coordinates.size() != spec.shape.size())
    throw Error(where, (what + ": " + describe(spec) + " has " + llvm::Twine(spec.shape.size()) +
                        " dims, but at() got " + llvm::Twine(coordinates.size()) + " coordinates")
                           .str());
  Place result;
  result.view = recorder.argument(Access::argument(window));
  SmallVector<int64_t> shape;
  for (auto [dim, coordinate] : llvm::enumerate(coordinates)) {
    result.indices.push_back(recorder.index((what + ": coordinate " + llvm::Twine(dim) + " of " + describe(spec)).str(),
                                            Operand(coordinate.begin, where)));
    if (!coordinate.is_span) continue;
    if (coordinate.length < 1)
      throw Error(where, (what + ": the span of dim " + llvm::Twine(dim) + " of " + describe(spec) + " has length " +
                          llvm::Twine(coordinate.length))
                             .str());
    result.dims.push_back(static_cast<int32_t>(dim));
    shape.push_back(coordinate.length);
  }
  if (shape.size() > 4)
    throw Error(where, (what + ": a tile has at most 4 dims, not " + llvm::Twine(shape.size())).str());
  result.type = RankedTensorType::get(shape, recorder.element(spec.type));
  return result;
}

Value mask_for(const Operand& mask, llvm::StringRef what, RankedTensorType type) {
  Recorder& recorder = Recorder::current(mask.where());
  Value value = recorder.value(mask);
  if (!Recorder::element_of(value.getType()).isInteger(1))
    throw Error(mask.where(), (what + ": a mask is i1, not " + Recorder::describe(value.getType())).str());
  value = recorder.broadcast(what, mask.where(), value, type.getShape());
  if (type.getRank() == 0)
    value = tile::SplatOp::create(recorder.builder, recorder.location(mask.where()),
                                  RankedTensorType::get({}, value.getType()), value);
  return value;
}

Tile record_load(const Window& window, const Operand* mask, const Operand* other, const Location& where) {
  Recorder& recorder = Recorder::current(where);
  Place at = place(window, "load", where);
  Value mask_value, other_value;
  if (mask) mask_value = mask_for(*mask, "load", at.type);
  if (other) {
    Type element = at.type.getElementType();
    other_value = recorder.value(*other, element);
    if (other_value.getType() != element)
      throw Error(where, "load: `other` is a " + Recorder::describe(element) + ", not " +
                             Recorder::describe(other_value.getType()));
  }
  return recorder.tile(tile::LoadOp::create(recorder.builder, recorder.location(where), at.type, at.view, at.indices,
                                            mask_value, other_value, at.dims));
}

void record_store(const Window& window, const Operand& value, const Operand* mask) {
  const Location& where = value.where();
  Recorder& recorder = Recorder::current(where);
  Place at = place(window, "store", where);
  Value tile = recorder.value(value, at.type.getElementType());
  if (Recorder::element_of(tile.getType()) != at.type.getElementType())
    throw Error(where, "store: " + Recorder::describe(tile.getType()) + " into a window " +
                           Recorder::describe(at.type) + "; convert it with .to(" +
                           std::string(name_of(Recorder::dtype_of(at.type))) + ")");
  tile = recorder.broadcast("store", where, tile, at.type.getShape());
  if (at.type.getRank() == 0) tile = tile::SplatOp::create(recorder.builder, recorder.location(where), at.type, tile);
  Value mask_value;
  if (mask) mask_value = mask_for(*mask, "store", at.type);
  tile::StoreOp::create(recorder.builder, recorder.location(where), tile, at.view, at.indices, mask_value, at.dims);
}

} // namespace

Tile Window::load(const Location& where) const { return record_load(*this, nullptr, nullptr, where); }
Tile Window::load(const Operand& mask, const Operand& other) const {
  return record_load(*this, &mask, &other, mask.where());
}
Tile Window::load_or(const Operand& other) const { return record_load(*this, nullptr, &other, other.where()); }
void Window::store(const Operand& value) const { record_store(*this, value, nullptr); }
void Window::store(const Operand& value, const Operand& mask) const { record_store(*this, value, &mask); }

Shape Window::shape() const {
  Shape shape;
  for (const Coordinate& coordinate : coordinates_)
    if (coordinate.is_span) shape.push_back(coordinate.length);
  return shape;
}

// ---- View ----------------------------------------------------------------------------------------------------------

DType View::type(const Location& where) const { return spec_of(recording_, argument_, where).type; }
int View::rank(const Location& where) const {
  return static_cast<int>(spec_of(recording_, argument_, where).shape.size());
}
const std::string& View::name(const Location& where) const { return spec_of(recording_, argument_, where).name; }

static int dim_of(const ArgumentSpec& spec, int dim, const Location& where) {
  int rank = static_cast<int>(spec.shape.size()), resolved = dim < 0 ? dim + rank : dim;
  if (resolved < 0 || resolved >= rank)
    throw Error(where, "size: there is no dim " + std::to_string(dim) + " in " + describe(spec));
  return resolved;
}

Index View::size(int dim, const Location& where) const {
  const ArgumentSpec& spec = spec_of(recording_, argument_, where);
  Recorder& recorder = Recorder::current(where);
  int at = dim_of(spec, dim, where);
  if (spec.shape[at] != dynamic) return Index(spec.shape[at], where);
  return recorder.tile(
      recorder.add<tile::SizeOp>(where, recorder.element(DType::i32), recorder.argument(argument_), at));
}

int64_t View::fixed_size(int dim, const Location& where) const {
  const ArgumentSpec& spec = spec_of(recording_, argument_, where);
  int at = dim_of(spec, dim, where);
  if (spec.shape[at] == dynamic)
    throw Error(where, "fixed_size: the size of dim " + std::to_string(at) + " of " + describe(spec) +
                           " is not known before the launch; fix it with Jit::specialize, or use size()");
  return spec.shape[at];
}

// ---- arguments -----------------------------------------------------------------------------------------------------

View Recorder::view(size_t number) const { return View(id_, static_cast<uint32_t>(number)); }

size_t Arguments::size(const Location& where) const { return Recorder::current(where).specs().size(); }

static std::optional<size_t> find_argument(const std::string& name, const Location& where) {
  const auto& specs = Recorder::current(where).specs();
  auto found = llvm::find_if(specs, [&](const ArgumentSpec& spec) { return spec.name == name; });
  if (found == specs.end()) return std::nullopt;
  return found - specs.begin();
}

static size_t argument_named(const std::string& name, const Location& where) {
  if (auto number = find_argument(name, where)) return *number;
  throw Error(where, "the kernel has no argument '" + name + "'");
}

// The recording, once argument `number` is known to be a tensor or not, as the body says.
static Recorder& checked(size_t number, bool tensor, const Location& where) {
  Recorder& recorder = Recorder::current(where);
  if (number >= recorder.specs().size())
    throw Error(where, "the kernel's body wants argument " + std::to_string(number) + ", but there are " +
                           std::to_string(recorder.specs().size()));
  const ArgumentSpec& spec = recorder.specs()[number];
  const char* kinds[] = {"a scalar", "a tensor"};
  if (spec.is_tensor != tensor)
    throw Error(where, "argument '" + spec.name + "' is " + kinds[tensor] + " in the kernel's body, but " +
                           kinds[!tensor] + " was given");
  return recorder;
}

bool Arguments::has(const std::string& name, const Location& where) const {
  return find_argument(name, where).has_value();
}
View Arguments::view(size_t number, const Location& where) const { return checked(number, true, where).view(number); }
View Arguments::view(const std::string& name, const Location& where) const {
  return view(argument_named(name, where), where);
}
Scalar Arguments::scalar(size_t number, const Location& where) const {
  Recorder& recorder = checked(number, false, where);
  return recorder.tile(recorder.argument(static_cast<uint32_t>(number)));
}
Scalar Arguments::scalar(const std::string& name, const Location& where) const {
  return scalar(argument_named(name, where), where);
}

// ---- loops ---------------------------------------------------------------------------------------------------------

Range::Range(const Operand& begin, const Operand& end, const Operand& step) : where_(begin.where()) {
  Recorder& recorder = Recorder::current(where_);
  recording_ = recorder.id();
  begin_ = recorder.enter(recorder.index("range: the begin", begin));
  end_ = recorder.enter(recorder.index("range: the end", end));
  Value step_value = recorder.index("range: the step", step);
  llvm::APInt known;
  if (matchPattern(step_value, m_ConstantInt(&known)) && !known.isStrictlyPositive())
    throw Error(where_, "range: the step must be positive, not " + std::to_string(known.getSExtValue()));
  step_ = recorder.enter(step_value);
}

Range::~Range() {
  if (state_ != State::inside) return;
  if (Recorder* recorder = Recorder::find(recording_)) recorder->abandon(*this);
}

Range::Iterator Range::begin() {
  if (state_ != State::before) throw Error(where_, "range: a range serves one loop");
  Recorder::current(where_).begin(*this);
  state_ = State::inside;
  return Iterator(this);
}

Index Range::Iterator::operator*() const { return Recorder::current(range_->where_).induction(*range_); }

Range::Iterator& Range::Iterator::operator++() {
  Recorder::current(range_->where_).end(*range_);
  range_->state_ = State::after;
  return *this;
}

bool Range::Iterator::operator!=(const Iterator&) const { return range_->state_ == State::inside; }

void when(const Operand& condition, const std::function<void()>& body, const std::function<void()>& otherwise) {
  Recorder::current(condition.where()).when(condition, body, otherwise);
}

} // namespace tilejit::dsl

// place: gives every tile a layout. Level 1 -> level 2.
//
// First in the pipeline, because everything after it asks where a tile is: which accesses are wide, which operand goes
// through shared memory, what a reduction shuffles. It is the only pass that chooses layouts; later ones only carry
// out.
//
// How it chooses. Some ops have a preferred place of their own, the *anchors*: a product's accumulator has its matrix
// instruction's layout, a load or store wants coalesced accesses. These candidates spread along the data flow through
// the ops that keep an element in its thread (elementwise, transpose, expand, broadcast, reduce). Then one candidate is
// taken per value so that the estimated issue slots are least: an access's instructions and sectors, plus the cost of
// each conversion where a value's place is not the one that its user wants, weighted by loop depth. Values carried by a
// loop are one choice. The assignment is exact (compiler/layout/assignment.h). Constants, splats and iotas cost nothing
// anywhere, so each user gets its own.
//
// After it every tile type carries a layout and `tile.convert` stands wherever two differ.
#include "compiler/dialect/dialect.h"
#include "compiler/layout/assignment.h"
#include "compiler/layout/instructions.h"
#include "compiler/layout/questions.h"
#include "compiler/passes/pass.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/EquivalenceClasses.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace tilejit::tile;
using tilejit::layout::Layout;

namespace tilejit::passes {
namespace {

// More candidates a value never helped and cost time: the assignment tries their products.
constexpr size_t max_candidates = 4;
// How often a loop body is taken to run, where the trip count is not a constant.
constexpr double assumed_trips = 16;

SmallVector<uint32_t> extents(RankedTensorType type) { return SmallVector<uint32_t>(type.getShape()); }

class Placement {
public:
  explicit Placement(func::FuncOp kernel) : kernel_(kernel), context_(kernel.getContext()), warps_(warps_of(kernel)) {}

  void run() {
    collect();
    anchor();
    spread();
    choose();
    rewrite();
  }

private:
  struct Node {
    Value value; // any of its values
    SmallVector<LayoutAttr> candidates;
    std::vector<uint64_t> costs;
    LayoutAttr chosen;
    bool pinned = false; // an instruction leaves no choice
  };

  // ---- nodes: one a tile value, loop-carried values merged ------------------------------------------------------

  static bool is_tile(Value value) { return isa<RankedTensorType>(value.getType()); }

  void merge(Value a, Value b) {
    if (is_tile(a)) classes_.unionSets(a.getAsOpaquePointer(), b.getAsOpaquePointer());
  }

  void collect() {
    kernel_.walk([&](Operation* op) {
      for (Value result : op->getResults())
        if (is_tile(result) && !is_free(op)) classes_.insert(result.getAsOpaquePointer());
      if (auto loop = dyn_cast<scf::ForOp>(op))
        for (auto [argument, result] : llvm::zip(loop.getRegionIterArgs(), loop.getResults())) merge(argument, result);
    });
    kernel_.walk([&](Operation* op) {
      for (Value result : op->getResults()) add_node(result);
    });
  }

  void add_node(Value value) {
    auto member = classes_.findLeader(value.getAsOpaquePointer());
    if (member == classes_.member_end()) return;
    if (number_.try_emplace(*member, nodes_.size()).second) nodes_.push_back({value});
  }

  // The node of a value, or -1 for one that is free or no tile.
  int node(Value value) const {
    auto member = classes_.findLeader(value.getAsOpaquePointer());
    return member == classes_.member_end() ? -1 : number_.lookup(*member);
  }

  LayoutAttr attr(const Layout& layout) const { return LayoutAttr::get(context_, layout); }

  bool offer(int node, LayoutAttr layout) {
    if (node < 0) return false;
    auto& candidates = nodes_[node].candidates;
    if (nodes_[node].pinned || candidates.size() == max_candidates || llvm::is_contained(candidates, layout))
      return false;
    candidates.push_back(layout);
    return true;
  }

  // ---- anchors ---------------------------------------------------------------------------------------------------

  // The coalesced layout for an access: lanes along the tile dim that runs along the view's contiguous dim.
  LayoutAttr coalesced(ViewType view, ArrayRef<int32_t> dims, RankedTensorType type) const {
    int contiguous = type.getRank() - 1;
    for (auto [d, dim] : llvm::enumerate(dims))
      if (dim == view.getContiguousDim()) contiguous = d;
    return attr(layout::blocked(extents(type), element_bits(type.getElementType()), warps_, contiguous));
  }

  layout::DotLayouts layouts_of(DotOp dot) const {
    auto a = cast<RankedTensorType>(dot.getA().getType());
    return layout::dot_layouts(a.getDimSize(0), dot.getType().getDimSize(1), a.getDimSize(1),
                               element_bits(a.getElementType()), warps_);
  }

  void anchor() {
    kernel_.walk([&](Operation* op) {
      if (auto dot = dyn_cast<DotOp>(op)) {
        LayoutAttr c = attr(layouts_of(dot).c);
        offer(node(dot.getResult()), c);
        nodes_[node(dot.getResult())].pinned = true;
        offer(node(dot.getAcc()), c);
      } else if (auto load = dyn_cast<LoadOp>(op)) {
        offer(node(load.getResult()), coalesced(load.getView().getType(), load.getDims(), load.getType()));
      } else if (auto store = dyn_cast<StoreOp>(op)) {
        offer(node(store.getValue()),
              coalesced(store.getView().getType(), store.getDims(), store.getValue().getType()));
      }
    });
  }

  // ---- spreading -------------------------------------------------------------------------------------------------

  bool spread(Operation* op) {
    bool changed = false;
    if (auto loop = dyn_cast<scf::ForOp>(op)) {
      for (unsigned i = 0; i < loop.getNumRegionIterArgs(); ++i)
        for (Value other : {loop.getInitArgs()[i], loop.getYieldedValues()[i]})
          changed |= spread_equal(node(loop.getResult(i)), node(other));
      return changed;
    }
    if (auto branch = dyn_cast<scf::IfOp>(op)) {
      for (Region* region : {&branch.getThenRegion(), &branch.getElseRegion()})
        if (!region->empty())
          for (auto [result, value] : llvm::zip(branch.getResults(), region->front().getTerminator()->getOperands()))
            changed |= spread_equal(node(result), node(value));
      return changed;
    }
    if (isa<DotOp>(op) || op->getNumResults() == 0) return false;
    for (Value result : op->getResults()) {
      int to = node(result);
      if (to < 0) continue;
      for (auto [i, operand] : llvm::enumerate(op->getOperands())) {
        int from = node(operand);
        if (from < 0) continue;
        for (LayoutAttr candidate : SmallVector<LayoutAttr>(nodes_[to].candidates))
          if (auto wanted = operand_layout(op, i, candidate.getValue())) changed |= offer(from, attr(*wanted));
        for (LayoutAttr candidate : SmallVector<LayoutAttr>(nodes_[from].candidates))
          if (auto given = result_layout(op, candidate.getValue())) changed |= offer(to, attr(*given));
      }
    }
    return changed;
  }

  bool spread_equal(int a, int b) {
    bool changed = false;
    if (a < 0 || b < 0) return false;
    for (LayoutAttr candidate : SmallVector<LayoutAttr>(nodes_[a].candidates)) changed |= offer(b, candidate);
    for (LayoutAttr candidate : SmallVector<LayoutAttr>(nodes_[b].candidates)) changed |= offer(a, candidate);
    return changed;
  }

  // To a fixed point; then a tile that no anchor reaches gets the plain coalesced layout and spreads it in turn.
  void spread() {
    auto run = [&] {
      for (bool changed = true; changed;) {
        changed = false;
        kernel_.walk([&](Operation* op) { changed |= spread(op); });
      }
    };
    run();
    for (Node& node : nodes_) {
      if (!node.candidates.empty()) continue;
      auto type = cast<RankedTensorType>(node.value.getType());
      node.candidates.push_back(
          attr(layout::blocked(extents(type), element_bits(type.getElementType()), warps_, type.getRank() - 1)));
      run();
    }
  }

  // ---- costs -----------------------------------------------------------------------------------------------------

  // Costs are estimates in issue slots of a warp; the assignment adds them up as whole numbers.
  static uint64_t slots(double cost) { return uint64_t(std::llround(std::min(cost, 1e12))); }

  // Executions of an op's block for one of the kernel.
  double weight(Operation* op) const {
    double weight = 1;
    for (auto loop = op->getParentOfType<scf::ForOp>(); loop; loop = loop->getParentOfType<scf::ForOp>()) {
      std::optional<llvm::APInt> trips = loop.getStaticTripCount();
      weight *= trips ? std::min<double>(trips->getZExtValue(), 1024) : assumed_trips;
    }
    return weight;
  }

  // Issue slots of one warp for an access: instructions, and what the 32-byte sectors that each touches cost.
  double access_cost(ViewType view, ArrayRef<int32_t> dims, RankedTensorType type, LayoutAttr layout) const {
    unsigned bits = element_bits(type.getElementType());
    int contiguous = -1;
    for (auto [d, dim] : llvm::enumerate(dims))
      if (dim == view.getContiguousDim()) contiguous = d;
    const Layout& l = layout.getValue();
    double registers = l.count(layout::Axis::reg);
    if (contiguous < 0) return registers * 32;
    double vector = layout::global_vector(l, contiguous, bits, view.getAlign(), view.getAlign() * 8 / bits);
    double run = vector; // elements that neighbouring lanes cover without a gap
    for (const layout::Linear::Field& field : layout::linear(l, contiguous).fields)
      for (const layout::Linear::Term& term : field.terms)
        if (term.axis == layout::Axis::lane && field.weight * term.value == run) run *= 2;
    double bytes = 32 * vector * bits / 8, run_bytes = run * bits / 8;
    double sectors = run_bytes >= 32 ? bytes / 32 : bytes / run_bytes;
    return registers / vector * (1 + 2 * sectors);
  }

  double conversion_cost(LayoutAttr from, LayoutAttr to, RankedTensorType type) {
    if (from == to) return 0;
    unsigned bits = element_bits(type.getElementType());
    auto [known, fresh] = conversions_.try_emplace({{from, to}, bits});
    if (fresh) known->second = layout::convert(from.getValue(), to.getValue(), bits).slots;
    return known->second;
  }

  void edge(int a, int b, double weight, llvm::function_ref<double(LayoutAttr, LayoutAttr)> cost) {
    if (a < 0 || b < 0) return;
    layout::AssignmentEdge edge{unsigned(a), unsigned(b), {}};
    for (LayoutAttr x : nodes_[a].candidates)
      for (LayoutAttr y : nodes_[b].candidates) edge.costs.push_back(slots(weight * cost(x, y)));
    edges_.push_back(std::move(edge));
  }

  // The cost of `value` where a user's own node `user` wants the layout `wanted(user's candidate)`.
  void use(Value value, int user, double weight, llvm::function_ref<LayoutAttr(LayoutAttr)> wanted) {
    auto type = cast<RankedTensorType>(value.getType());
    edge(node(value), user, weight,
         [&](LayoutAttr from, LayoutAttr to) { return conversion_cost(from, wanted(to), type); });
  }

  // A user that wants one layout whatever else is chosen.
  void fixed_use(Value value, double weight, LayoutAttr wanted) {
    int from = node(value);
    if (from < 0) return;
    for (auto [candidate, cost] : llvm::zip(nodes_[from].candidates, nodes_[from].costs))
      cost += slots(weight * conversion_cost(candidate, wanted, cast<RankedTensorType>(value.getType())));
  }

  void choose() {
    for (Node& node : nodes_) node.costs.assign(node.candidates.size(), 0);
    auto same = [](LayoutAttr layout) { return layout; };
    kernel_.walk([&](Operation* op) {
      double w = weight(op);
      if (auto loop = dyn_cast<scf::ForOp>(op)) {
        for (unsigned i = 0; i < loop.getNumRegionIterArgs(); ++i) {
          if (!is_tile(loop.getResult(i))) continue;
          use(loop.getInitArgs()[i], node(loop.getResult(i)), w, same);
          use(loop.getYieldedValues()[i], node(loop.getResult(i)), weight(loop.getBody()->getTerminator()), same);
        }
      } else if (auto branch = dyn_cast<scf::IfOp>(op)) {
        for (Region* region : {&branch.getThenRegion(), &branch.getElseRegion()})
          if (!region->empty())
            for (auto [result, value] : llvm::zip(branch.getResults(), region->front().getTerminator()->getOperands()))
              if (is_tile(value)) use(value, node(result), w, same);
      } else if (auto dot = dyn_cast<DotOp>(op)) {
        layout::DotLayouts layouts = layouts_of(dot);
        fixed_use(dot.getA(), w, attr(layouts.a));
        fixed_use(dot.getB(), w, attr(layouts.b));
        fixed_use(dot.getAcc(), w, attr(layouts.c));
      } else if (auto store = dyn_cast<StoreOp>(op)) {
        // A store takes its value where it is, or in a coalesced layout: decided again when rewriting, so cost = least.
        int value = node(store.getValue());
        if (value >= 0)
          for (auto [candidate, cost] : llvm::zip(nodes_[value].candidates, nodes_[value].costs))
            cost += slots(w * store_choice(store, candidate).second);
        // Its mask follows the value; masks are cheap to recompute, so they do not decide.
      } else if (auto load = dyn_cast<LoadOp>(op)) {
        Node& node = nodes_[this->node(load.getResult())];
        for (auto [candidate, cost] : llvm::zip(node.candidates, node.costs))
          cost += slots(w * access_cost(load.getView().getType(), load.getDims(), load.getType(), candidate));
        if (load.getMask()) use(load.getMask(), this->node(load.getResult()), w, same);
      } else if (auto reduce = dyn_cast<ReduceOp>(op)) {
        for (auto [source, result] : llvm::zip(reduce.getSources(), reduce.getResults()))
          edge(node(source), node(result), w, [&](LayoutAttr from, LayoutAttr to) {
            return reduction_cost(from, reduce.getAxis()) +
                   conversion_cost(attr(from.getValue().slice(reduce.getAxis())), to,
                                   cast<RankedTensorType>(result.getType()));
          });
      } else if (op->getNumResults() == 1 && is_tile(op->getResult(0))) {
        int result = node(op->getResult(0));
        if (result < 0) return;
        // Work on copies is work done twice: an elementwise op costs a slot a register.
        for (auto [candidate, cost] : llvm::zip(nodes_[result].candidates, nodes_[result].costs))
          cost += slots(w * candidate.getValue().count(layout::Axis::reg));
        for (auto [i, operand] : llvm::enumerate(op->getOperands()))
          if (is_tile(operand))
            use(operand, result, w, [&, i = i](LayoutAttr to) { return attr(*operand_layout(op, i, to.getValue())); });
      }
    });

    std::vector<std::vector<uint64_t>> costs;
    for (Node& node : nodes_) costs.push_back(node.costs);
    layout::Assignment assignment = layout::assign(costs, edges_);
    for (auto [node, choice] : llvm::zip(nodes_, assignment.choice)) node.chosen = node.candidates[choice];
  }

  // Butterflies cost a shuffle and a combine each; across warps the trip through shared memory.
  double reduction_cost(LayoutAttr source, unsigned axis) const {
    std::optional<layout::Reduction> plan = layout::plan_reduction(source.getValue(), axis);
    if (!plan) return 1e9;
    double results = source.getValue().slice(axis).count(layout::Axis::reg);
    return plan->in_thread + results * 5 * plan->butterflies.size() + (plan->warps > 1 ? 100 + 8 * results : 0);
  }

  // The layout in which a store writes a value that lies in `from`, and the cost of conversion and access.
  std::pair<LayoutAttr, double> store_choice(StoreOp store, LayoutAttr from) {
    RankedTensorType type = store.getValue().getType();
    ViewType view = store.getView().getType();
    LayoutAttr wide = coalesced(view, store.getDims(), type);
    double direct = access_cost(view, store.getDims(), type, from);
    double converted = access_cost(view, store.getDims(), type, wide) + conversion_cost(from, wide, type);
    return direct <= converted ? std::pair(from, direct) : std::pair(wide, converted);
  }

  // ---- rewriting -------------------------------------------------------------------------------------------------

  void set_layout(Value value, LayoutAttr layout) {
    value.setType(with_layout(cast<RankedTensorType>(value.getType()), layout));
  }

  // `value` in `layout`, converted right after its definition so that one conversion serves every user, or, of a free
  // value, computed there once more.
  Value in_layout(Value value, LayoutAttr layout) {
    if (layout_of(value) == layout) return value;
    Value& known = converted_[{value, layout}];
    if (known) return known;
    OpBuilder builder(kernel_.getContext());
    builder.setInsertionPointAfterValue(value);
    Operation* definition = value.getDefiningOp();
    auto type = with_layout(cast<RankedTensorType>(value.getType()), layout);
    if (definition && is_free(definition)) {
      Operation* clone = builder.clone(*definition);
      if (auto dense = clone->getAttrOfType<DenseElementsAttr>("value")) clone->setAttr("value", dense.reshape(type));
      clone->getResult(0).setType(type);
      known = clone->getResult(0);
    } else {
      known = ConvertOp::create(builder, value.getLoc(), type, value);
    }
    return known;
  }

  void want(OpOperand& operand, LayoutAttr layout) { operand.set(in_layout(operand.get(), layout)); }

  void rewrite() {
    SmallVector<Operation*> ops, free_ops;
    kernel_.walk<WalkOrder::PreOrder>([&](Operation* op) { (is_free(op) ? free_ops : ops).push_back(op); });
    for (Operation* op : ops) {
      for (Value result : op->getResults())
        if (int n = node(result); n >= 0) set_layout(result, nodes_[n].chosen);
      if (auto loop = dyn_cast<scf::ForOp>(op))
        for (Value argument : loop.getRegionIterArgs())
          if (int n = node(argument); n >= 0) set_layout(argument, nodes_[n].chosen);
    }
    for (Operation* op : ops) rewrite(op);
    for (Operation* op : free_ops)
      if (op->use_empty() && isa<RankedTensorType>(op->getResult(0).getType())) op->erase();
  }

  void rewrite(Operation* op) {
    if (auto loop = dyn_cast<scf::ForOp>(op)) {
      for (unsigned i = 0; i < loop.getNumRegionIterArgs(); ++i) {
        if (!is_tile(loop.getResult(i))) continue;
        LayoutAttr layout = layout_of(loop.getResult(i));
        want(loop.getInitArgsMutable()[i], layout);
        want(loop.getBody()->getTerminator()->getOpOperand(i), layout);
      }
    } else if (auto branch = dyn_cast<scf::IfOp>(op)) {
      for (Region* region : {&branch.getThenRegion(), &branch.getElseRegion()})
        if (!region->empty())
          for (auto [i, result] : llvm::enumerate(branch.getResults()))
            if (is_tile(result)) want(region->front().getTerminator()->getOpOperand(i), layout_of(result));
    } else if (auto dot = dyn_cast<DotOp>(op)) {
      layout::DotLayouts layouts = layouts_of(dot);
      want(dot.getAMutable(), attr(layouts.a));
      want(dot.getBMutable(), attr(layouts.b));
      want(dot.getAccMutable(), attr(layouts.c));
    } else if (auto store = dyn_cast<StoreOp>(op)) {
      LayoutAttr from = layout_of(store.getValue());
      LayoutAttr layout =
          store_choice(store,
                       from ? from : coalesced(store.getView().getType(), store.getDims(), store.getValue().getType()))
              .first;
      want(op->getOpOperand(0), layout);
      for (OpOperand& mask : store.getMaskMutable()) want(mask, layout);
    } else if (auto load = dyn_cast<LoadOp>(op)) {
      for (OpOperand& mask : load.getMaskMutable()) want(mask, layout_of(load.getResult()));
    } else if (auto reduce = dyn_cast<ReduceOp>(op)) {
      rewrite_reduce(reduce);
    } else if (op->getNumResults() == 1 && is_tile(op->getResult(0))) {
      LayoutAttr result = layout_of(op->getResult(0));
      for (OpOperand& operand : op->getOpOperands())
        if (is_tile(operand.get()))
          want(operand, attr(*operand_layout(op, operand.getOperandNumber(), result.getValue())));
    }
  }

  // All sources of a reduction are taken where the first one is; each result arises in the slice of that.
  void rewrite_reduce(ReduceOp reduce) {
    LayoutAttr source = layout_of(reduce.getSources()[0]);
    if (!source) { // a constant: any layout
      auto type = cast<RankedTensorType>(reduce.getSources()[0].getType());
      source = attr(layout::blocked(extents(type), element_bits(type.getElementType()), warps_, type.getRank() - 1));
    }
    if (!layout::plan_reduction(source.getValue(), reduce.getAxis())) {
      auto type = cast<RankedTensorType>(reduce.getSources()[0].getType());
      source = attr(layout::blocked(extents(type), element_bits(type.getElementType()), warps_, type.getRank() - 1));
    }
    for (OpOperand& operand : reduce.getSourcesMutable()) want(operand, source);
    LayoutAttr natural = attr(source.getValue().slice(reduce.getAxis()));
    OpBuilder builder(kernel_.getContext());
    builder.setInsertionPointAfter(reduce);
    for (Value result : reduce.getResults()) {
      LayoutAttr chosen = layout_of(result);
      if (chosen == natural) continue;
      set_layout(result, natural);
      auto convert = ConvertOp::create(builder, reduce.getLoc(),
                                       with_layout(cast<RankedTensorType>(result.getType()), chosen), result);
      result.replaceAllUsesExcept(convert, convert);
      converted_[{result, chosen}] = convert;
    }
  }

  func::FuncOp kernel_;
  MLIRContext* context_;
  unsigned warps_;
  llvm::EquivalenceClasses<void*> classes_;
  llvm::DenseMap<void*, int> number_;
  std::vector<Node> nodes_;
  std::vector<layout::AssignmentEdge> edges_;
  llvm::DenseMap<std::pair<std::pair<LayoutAttr, LayoutAttr>, unsigned>, double> conversions_;
  llvm::DenseMap<std::pair<Value, LayoutAttr>, Value> converted_;
};

struct Place : KernelPass<Place> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(Place)
  StringRef getArgument() const final { return "place"; }
  StringRef getDescription() const final { return "give every tile a layout"; }
  void run(func::FuncOp kernel) { Placement(kernel).run(); }
};

} // namespace

std::unique_ptr<Pass> create_place() { return std::make_unique<Place>(); }

} // namespace tilejit::passes

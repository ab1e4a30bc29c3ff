#include "compiler/passes/to_llvm/code.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/BinaryFormat/Dwarf.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace tilejit::passes {

Code::Code(MLIRContext* context) : builder(context), location(UnknownLoc::get(context)) {
  i1 = builder.getI1Type(), i8 = builder.getI8Type(), i16 = builder.getI16Type(), i32 = builder.getI32Type();
  i64 = builder.getI64Type(), f32 = builder.getF32Type();
  global_pointer = LLVM::LLVMPointerType::get(context, 1);
  shared_pointer = LLVM::LLVMPointerType::get(context, 3);
}

void register_llvm_dialect(DialectRegistry& registry) { registry.insert<LLVM::LLVMDialect>(); }

// ---- values ------------------------------------------------------------------------------------------------------

// One of each, at the kernel's head: address arithmetic asks for the same few again and again.
Value Code::constant(Type type, TypedAttr value) {
  Value& known = constants_[{type, value}];
  if (!known) {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(&function_->getRegion(0).front());
    auto constant = LLVM::ConstantOp::create(builder, function_->getLoc(), type, value);
    if (!last_constant_) last_constant_ = constant;
    known = constant;
  }
  return known;
}
Value Code::integer(Type type, int64_t value) { return constant(type, builder.getIntegerAttr(type, value)); }
Value Code::real(Type type, double value) { return constant(type, builder.getFloatAttr(type, value)); }
Value Code::zero(Type type) { return LLVM::ZeroOp::create(builder, location, type); }
Value Code::poison(Type type) { return LLVM::PoisonOp::create(builder, location, type); }

// ---- arithmetic --------------------------------------------------------------------------------------------------

Value Code::op(StringRef name, Type type, ArrayRef<Value> operands, ArrayRef<NamedAttribute> attributes) {
  OperationState state(location, name);
  state.addOperands(operands);
  state.addTypes(type);
  state.addAttributes(attributes);
  return builder.create(state)->getResult(0);
}

Value Code::float_op(StringRef name, Type type, ArrayRef<Value> operands) {
  auto contract = LLVM::FastmathFlagsAttr::get(builder.getContext(), LLVM::FastmathFlags::contract);
  return op(name, type, operands, {builder.getNamedAttr("fastmathFlags", contract)});
}

Value Code::add(Value a, Value b) { return LLVM::AddOp::create(builder, location, a, b); }
Value Code::sub(Value a, Value b) { return LLVM::SubOp::create(builder, location, a, b); }
Value Code::mul(Value a, Value b) { return LLVM::MulOp::create(builder, location, a, b); }
Value Code::exclusive_or(Value a, Value b) { return LLVM::XOrOp::create(builder, location, a, b); }
Value Code::bit_and(Value a, Value b) { return LLVM::AndOp::create(builder, location, a, b); }
Value Code::shift_left(Value a, unsigned bits) {
  return bits ? LLVM::ShlOp::create(builder, location, a, integer(a.getType(), bits)) : a;
}
Value Code::shift_right(Value a, unsigned bits) {
  return bits ? LLVM::LShrOp::create(builder, location, a, integer(a.getType(), bits)) : a;
}
Value Code::unsigned_remainder(Value a, unsigned divisor) {
  if (llvm::isPowerOf2_32(divisor)) return bit_and(a, integer(a.getType(), divisor - 1));
  return LLVM::URemOp::create(builder, location, a, integer(a.getType(), divisor));
}
Value Code::unsigned_quotient(Value a, unsigned divisor) {
  if (llvm::isPowerOf2_32(divisor)) return shift_right(a, llvm::Log2_32(divisor));
  return LLVM::UDivOp::create(builder, location, a, integer(a.getType(), divisor));
}
Value Code::compare(int64_t predicate, Value a, Value b) {
  return LLVM::ICmpOp::create(builder, location, static_cast<LLVM::ICmpPredicate>(predicate), a, b);
}
Value Code::compare_float(int64_t predicate, Value a, Value b) {
  return LLVM::FCmpOp::create(builder, location, static_cast<LLVM::FCmpPredicate>(predicate), a, b);
}
Value Code::select(Value condition, Value yes, Value no) {
  return LLVM::SelectOp::create(builder, location, condition, yes, no);
}
Value Code::both(Value a, Value b) {
  if (!a || !b) return a ? a : b;
  return bit_and(a, b);
}
Value Code::sign_extend(Value a, Type type) { return LLVM::SExtOp::create(builder, location, type, a); }
Value Code::zero_extend(Value a, Type type) { return LLVM::ZExtOp::create(builder, location, type, a); }
Value Code::bitcast(Value a, Type type) {
  if (a.getType() == type) return a;
  if (auto back = a.getDefiningOp<LLVM::BitcastOp>(); back && back.getArg().getType() == type) return back.getArg();
  return LLVM::BitcastOp::create(builder, location, type, a);
}
Value Code::extract(Value vector, unsigned element) {
  return LLVM::ExtractElementOp::create(builder, location, vector, number(element));
}
Value Code::vector(ArrayRef<Value> elements) {
  if (elements.size() == 1) return elements[0];
  Value result = poison(VectorType::get({int64_t(elements.size())}, elements[0].getType()));
  for (auto [i, element] : llvm::enumerate(elements))
    result = LLVM::InsertElementOp::create(builder, location, result, element, number(i));
  return result;
}
SmallVector<Value> Code::fields(Value aggregate) {
  SmallVector<Value> values;
  auto type = dyn_cast<LLVM::LLVMStructType>(aggregate.getType());
  if (!type) return {aggregate};
  for (unsigned i = 0; i < type.getBody().size(); ++i)
    values.push_back(LLVM::ExtractValueOp::create(builder, location, aggregate, ArrayRef<int64_t>(i)));
  return values;
}

// ---- memory ------------------------------------------------------------------------------------------------------

Value Code::address(Value pointer, Value bytes) {
  return LLVM::GEPOp::create(builder, location, pointer.getType(), i8, pointer, ArrayRef<LLVM::GEPArg>{bytes});
}
Value Code::address(Value pointer, int64_t bytes) {
  if (bytes == 0) return pointer;
  return LLVM::GEPOp::create(builder, location, pointer.getType(), i8, pointer, ArrayRef<LLVM::GEPArg>{int32_t(bytes)});
}
Value Code::load(Type type, Value pointer, unsigned align, bool invariant) {
  return LLVM::LoadOp::create(builder, location, type, pointer, align, /*isVolatile=*/false, /*isNonTemporal=*/false,
                              invariant);
}
void Code::store(Value value, Value pointer, unsigned align) {
  LLVM::StoreOp::create(builder, location, value, pointer, align);
}

static StringRef vector_suffix(unsigned words) { return words == 4 ? ".v4" : words == 2 ? ".v2" : ""; }
// Registers of 8 bits do not exist; ld.u8 and st.u8 use 16-bit ones.
static std::pair<StringRef, char> register_of(Type type) {
  if (type.isInteger(32)) return {".b32", 'r'};
  return {type.isInteger(16) ? ".b16" : ".b8", 'h'};
}

SmallVector<Value> Code::load_global_if(Value predicate, Type type, unsigned words, Value pointer) {
  auto [suffix, kind] = register_of(type);
  std::string text = "{ .reg .pred p; setp.ne.b32 p, $" + std::to_string(words) + ", 0; ", list, constraints;
  for (unsigned w = 0; w < words; ++w) {
    text += (kind == 'r' ? "mov.b32 $" : "mov.b16 $") + std::to_string(w) + ", 0; ";
    list += (w ? ", $" : "$") + std::to_string(w);
    constraints += std::string("=&") + kind + ",";
  }
  text += "@p ld.global" + vector_suffix(words).str() + suffix.str() + " {" + list + "}, [$" +
          std::to_string(words + 1) + "]; }";
  if (words == 1) text = text.substr(0, text.find("{$0}")) + "$0" + text.substr(text.find("{$0}") + 4);
  Type word = kind == 'r' ? i32 : i16;
  Type result =
      words == 1 ? word : LLVM::LLVMStructType::getLiteral(builder.getContext(), SmallVector<Type>(words, word));
  // Loads have no effect that others see, but must not move over stores: so side effects are declared.
  Value value = assembly(text, constraints + "r,l", result, {zero_extend(predicate, i32), pointer}, true);
  SmallVector<Value> values = fields(value);
  if (type.isInteger(8))
    for (Value& v : values) v = LLVM::TruncOp::create(builder, location, i8, v);
  return values;
}

void Code::store_global_if(Value predicate, ArrayRef<Value> words, Value pointer) {
  auto [suffix, kind] = register_of(words[0].getType());
  std::string list, constraints = "r,l";
  SmallVector<Value> operands{zero_extend(predicate, i32), pointer};
  for (auto [w, word] : llvm::enumerate(words)) {
    list += (w ? ", $" : "$") + std::to_string(w + 2);
    constraints += std::string(",") + kind;
    operands.push_back(word.getType().isInteger(8) ? zero_extend(word, i16) : word);
  }
  if (words.size() > 1) list = "{" + list + "}";
  assembly("{ .reg .pred p; setp.ne.b32 p, $0, 0; @p st.global" + vector_suffix(words.size()).str() + suffix.str() +
               " [$1], " + list + "; }",
           constraints, {}, operands, true);
}

Value Code::dynamic_shared() {
  if (shared_) return shared_;
  // One array of unknown size outside all functions; its alignment keeps swizzles in phase.
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPoint(function_);
  constexpr const char* name = "shared_memory";
  auto global = function_->getParentOfType<ModuleOp>().lookupSymbol<LLVM::GlobalOp>(name); // of another kernel
  if (!global)
    global = LLVM::GlobalOp::create(builder, function_->getLoc(), LLVM::LLVMArrayType::get(i8, 0), /*isConstant=*/false,
                                    LLVM::Linkage::External, name, Attribute(), /*alignment=*/1024, /*addrSpace=*/3);
  to_head();
  return shared_ = LLVM::AddressOfOp::create(builder, location, global);
}

// ---- instructions ------------------------------------------------------------------------------------------------

Value Code::intrinsic(StringRef name, Type result, ArrayRef<Value> operands) {
  SmallVector<Type> types;
  if (result) types.push_back(result);
  OperationState state(location, LLVM::CallIntrinsicOp::getOperationName());
  LLVM::CallIntrinsicOp call =
      result ? LLVM::CallIntrinsicOp::create(builder, location, result, builder.getStringAttr(name), operands)
             : LLVM::CallIntrinsicOp::create(builder, location, builder.getStringAttr(name), operands);
  return result ? call.getResult(0) : Value();
}

Value Code::assembly(StringRef text, StringRef constraints, Type result, ArrayRef<Value> operands, bool side_effects) {
  Type type = result ? result : LLVM::LLVMVoidType::get(builder.getContext());
  auto op = LLVM::InlineAsmOp::create(builder, location, result ? TypeRange(type) : TypeRange(), operands, text,
                                      constraints, side_effects, /*is_align_stack=*/false, LLVM::TailCallKind::None,
                                      LLVM::AsmDialectAttr(), ArrayAttr());
  return result ? op.getResult(0) : Value();
}

Value Code::thread_in_block() { return intrinsic("llvm.nvvm.read.ptx.sreg.tid.x", i32, {}); }
Value Code::block_in_grid(unsigned axis) {
  return intrinsic(std::string("llvm.nvvm.read.ptx.sreg.ctaid.") + "xyz" [axis], i32, {});
}
Value Code::shuffle_xor(Value word, unsigned mask) {
  return intrinsic("llvm.nvvm.shfl.sync.bfly.i32", i32, {number(-1), word, number(mask), number(31)});
}
Value Code::shuffle_from(Value word, Value lane) {
  return intrinsic("llvm.nvvm.shfl.sync.idx.i32", i32, {number(-1), word, lane, number(31)});
}
void Code::barrier() { intrinsic("llvm.nvvm.barrier.cta.sync.aligned.all", {}, {number(0)}); }
void Code::copy_async(Value shared, Value global, unsigned bytes, Value source_bytes, Value enable) {
  std::string cache = bytes == 16 ? "cg" : "ca", size = std::to_string(bytes); // cg, past L1, exists for 16 bytes only
  if (!enable) {
    intrinsic("llvm.nvvm.cp.async." + cache + ".shared.global." + size + ".s", {}, {shared, global, source_bytes});
    return;
  }
  assembly("{ .reg .pred p; setp.ne.b32 p, $0, 0; @p cp.async." + cache + ".shared.global [$1], [$2], " + size +
               ", $3; }",
           "r,r,l,r", {}, {zero_extend(enable, i32), shared, global, source_bytes}, true);
}
void Code::commit_copies() { intrinsic("llvm.nvvm.cp.async.commit.group", {}, {}); }
void Code::wait_copies(unsigned pending) { intrinsic("llvm.nvvm.cp.async.wait.group", {}, {number(pending)}); }

SmallVector<Value> Code::ldmatrix(Value shared, unsigned words, bool transposed) {
  std::string name =
      "llvm.nvvm.ldmatrix.sync.aligned.m8n8.x" + std::to_string(words) + (transposed ? ".trans" : "") + ".b16";
  Type result =
      words == 1 ? i32 : LLVM::LLVMStructType::getLiteral(builder.getContext(), SmallVector<Type>(words, i32));
  return fields(intrinsic(name, result, {shared}));
}

SmallVector<Value> Code::mma(Type element, ArrayRef<Value> a, ArrayRef<Value> b, ArrayRef<Value> c) {
  SmallVector<Value> operands;
  Type pair = element.isF16() ? Type(VectorType::get({2}, element)) : i32;
  for (Value word : a) operands.push_back(bitcast(word, pair));
  for (Value word : b) operands.push_back(bitcast(word, pair));
  operands.append(c.begin(), c.end());
  StringRef name = element.isBF16()  ? "llvm.nvvm.mma.m16n8k16.row.col.bf16"
                   : element.isF16() ? "llvm.nvvm.mma.m16n8k16.row.col.f32.f32"
                                     : "llvm.nvvm.mma.m16n8k8.row.col.tf32";
  Type result = LLVM::LLVMStructType::getLiteral(builder.getContext(), SmallVector<Type>(4, f32));
  return fields(intrinsic(name, result, operands));
}

Value Code::round_to_tf32(Value x) { return intrinsic("llvm.nvvm.f2tf32.rna", i32, {x}); }
Value Code::exp2(Value x) { return intrinsic("llvm.nvvm.ex2.approx.ftz.f", f32, {x}); }
Value Code::log2(Value x) { return intrinsic("llvm.nvvm.lg2.approx.f", f32, {x}); }
Value Code::tanh(Value x) { return assembly("tanh.approx.f32 $0, $1;", "=f,f", f32, {x}, false); }
Value Code::reciprocal_root(Value x) { return intrinsic("llvm.nvvm.rsqrt.approx.f", f32, {x}); }
Value Code::root(Value x) { return intrinsic("llvm.nvvm.sqrt.rn.f", f32, {x}); }
Value Code::divide(Value a, Value b) { return assembly("div.full.f32 $0, $1, $2;", "=f,f,f", f32, {a, b}, false); }

// ---- control flow ------------------------------------------------------------------------------------------------

Block* Code::block_after(Block* block, ArrayRef<Type> arguments) {
  auto* next = new Block;
  next->addArguments(arguments, SmallVector<Location>(arguments.size(), location));
  block->getParent()->getBlocks().insertAfter(block->getIterator(), next);
  return next;
}
void Code::branch(Block* to, ArrayRef<Value> arguments) { LLVM::BrOp::create(builder, location, arguments, to); }
void Code::branch_if(Value condition, Block* yes, ArrayRef<Value> yes_arguments, Block* no,
                     ArrayRef<Value> no_arguments) {
  LLVM::CondBrOp::create(builder, location, condition, yes, yes_arguments, no, no_arguments);
}
void Code::loop_back(Block* header, ArrayRef<Value> arguments) {
  auto* context = builder.getContext();
  auto unroll = LLVM::LoopUnrollAttr::get(context, /*disable=*/builder.getBoolAttr(true), {}, {}, {}, {}, {}, {});
  auto annotation =
      LLVM::LoopAnnotationAttr::get(context, {}, {}, {}, unroll, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {});
  auto branch = LLVM::BrOp::create(builder, location, arguments, header);
  branch.setLoopAnnotationAttr(annotation);
}
void Code::finish() {
  LLVM::ReturnOp::create(builder, location, ValueRange());
  // Words that went to and fro between the types of a register and of its elements.
  function_->walk([](LLVM::BitcastOp op) {
    if (op->use_empty()) op->erase();
  });
}

// ---- functions ---------------------------------------------------------------------------------------------------

// Directives only: `.loc` lines, without what would mark the module as debug code, for which ptxas optimizes less.
static LLVM::DISubprogramAttr subprogram(OpBuilder& builder, StringRef name, FileLineColLoc where) {
  auto* context = builder.getContext();
  auto file = LLVM::DIFileAttr::get(context, where.getFilename().getValue(), "");
  auto unit = LLVM::DICompileUnitAttr::get(DistinctAttr::create(builder.getUnitAttr()),
                                           llvm::dwarf::DW_LANG_C_plus_plus_14, file, builder.getStringAttr("tilejit"),
                                           /*isOptimized=*/true, LLVM::DIEmissionKind::DebugDirectivesOnly);
  auto type = LLVM::DISubroutineTypeAttr::get(context, llvm::dwarf::DW_CC_normal, {});
  return LLVM::DISubprogramAttr::get(
      context, DistinctAttr::create(builder.getUnitAttr()), unit, file, builder.getStringAttr(name),
      builder.getStringAttr(name), file, where.getLine(), where.getLine(),
      LLVM::DISubprogramFlags::Definition | LLVM::DISubprogramFlags::Optimized, type, {}, {});
}

Operation* Code::kernel(StringRef name, ArrayRef<Type> parameters, unsigned threads, Location like, ModuleOp module) {
  builder.setInsertionPointToEnd(module.getBody());
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(builder.getContext()), parameters);
  if (auto where = like->findInstanceOf<FileLineColLoc>()) {
    file_ = where.getFilename();
    scope_ = subprogram(builder, name, where);
    like = FusedLoc::get(builder.getContext(), {where}, scope_);
  }
  location = like;
  auto function = LLVM::LLVMFuncOp::create(builder, like, name, type);
  function.setCConv(LLVM::CConv::PTX_Kernel);
  auto text = [&](StringRef s) { return builder.getStringAttr(s); };
  function.setPassthroughAttr(builder.getArrayAttr(
      {builder.getArrayAttr({text("nvvm.maxntid"), text(std::to_string(threads))}),
       builder.getArrayAttr({text("denormal-fp-math-f32"), text("preserve-sign,preserve-sign")})}));
  function_ = function;
  builder.setInsertionPointToStart(function.addEntryBlock(builder));
  return function;
}

void Code::to_head() {
  if (last_constant_)
    builder.setInsertionPointAfter(last_constant_);
  else
    builder.setInsertionPointToStart(&function_->getRegion(0).front());
}

// A line is one of the kernel's file unless a scope says otherwise.
void Code::at(Location where) {
  location = where;
  auto place = where->findInstanceOf<FileLineColLoc>();
  if (!place || !file_ || place.getFilename() == file_) return;
  Attribute& scope = other_files_[place.getFilename()];
  if (!scope)
    scope = LLVM::DILexicalBlockFileAttr::get(builder.getContext(), cast<LLVM::DIScopeAttr>(scope_),
                                              LLVM::DIFileAttr::get(builder.getContext(), place.getFilename(), ""), 0);
  location = FusedLoc::get(builder.getContext(), {place}, scope);
}

} // namespace tilejit::passes

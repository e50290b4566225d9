// A CUDA device without a GPU, for a torch that was built without CUDA: its memory is host memory, its kernels are the processor's.
// Tensors say they are on it, operations refuse to mix devices as torch's own do, and its allocator counts, and has a limit.
// Streams and events are in pretend_cuda.py, as is what torch.cuda is asked for.
#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <map>
#include <mutex>
#include <unordered_map>

namespace {

constexpr int DEVICES = 2;
thread_local c10::DeviceIndex here = 0;

struct Guard final : c10::impl::NoOpDeviceGuardImpl<c10::DeviceType::CUDA> {
  static c10::Device at_hand() { return {c10::DeviceType::CUDA, here}; }
  static c10::Stream stream(c10::Device device) { return c10::Stream(c10::Stream::DEFAULT, device); }
  c10::Device exchangeDevice(c10::Device device) const override {
    auto before = at_hand();
    here = device.index();
    return before;
  }
  c10::Device getDevice() const override { return at_hand(); }
  void setDevice(c10::Device device) const override { here = device.index(); }
  void uncheckedSetDevice(c10::Device device) const noexcept override { here = device.index(); }
  c10::Stream getStream(c10::Device device) const noexcept override { return stream(device); }
  c10::Stream getNewStream(c10::Device device, int) const override { return stream(device); }
  c10::Stream exchangeStream(c10::Stream) const noexcept override { return stream(at_hand()); }
  c10::DeviceIndex deviceCount() const noexcept override { return DEVICES; }
  void record(void**, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void synchronizeEvent(void*) const override {}
  void recordDataPtrOnStream(const c10::DataPtr&, const c10::Stream&) const override {}
};
const Guard guard;

std::mutex mutex;
std::map<uintptr_t, size_t> pinned;  // ranges of host memory that are locked in place
int64_t allocated[DEVICES], peak[DEVICES], limit[DEVICES];

struct Hooks final : at::CUDAHooksInterface {
  explicit Hooks(at::CUDAHooksArgs) {}
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  int getNumGPUs() const override { return DEVICES; }
  c10::DeviceIndex deviceCount() const override { return DEVICES; }
  c10::DeviceIndex current_device() const override { return here; }
  c10::DeviceIndex getCurrentDevice() const override { return here; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  bool isPinnedPtr(const void* data) const override {
    std::lock_guard<std::mutex> lock(mutex);
    auto address = reinterpret_cast<uintptr_t>(data);
    auto after = pinned.upper_bound(address);
    return after != pinned.begin() && address < std::prev(after)->first + std::prev(after)->second;
  }
};

bool is_there(const at::Tensor& tensor) { return tensor.defined() && tensor.device().is_cuda(); }

// ---- what tensors are made of ----

struct Room {  // the processor's memory behind a tensor of the device
  c10::Storage held;
  int64_t bytes;
  int device;
};

void let_go(void* given) {
  auto* room = static_cast<Room*>(given);
  {
    std::lock_guard<std::mutex> lock(mutex);
    allocated[room->device] -= room->bytes;
  }
  delete room;
}

c10::Storage moved_in(const c10::Storage& storage, c10::Device device) {
  auto bytes = (static_cast<int64_t>(storage.nbytes()) + 511) / 512 * 512;  // as CUDA's allocator rounds
  {
    std::lock_guard<std::mutex> lock(mutex);
    auto& now = allocated[device.index()];
    auto room = limit[device.index()];
    TORCH_CHECK_WITH(OutOfMemoryError, room == 0 || now + bytes <= room, "CUDA out of memory. Tried to allocate ", bytes, " bytes");
    now += bytes;
    peak[device.index()] = std::max(peak[device.index()], now);
  }
  auto* kept = new Room{storage, bytes, device.index()};
  c10::DataPtr data(storage.mutable_data(), kept, &let_go, device);
  return c10::Storage(c10::Storage::use_byte_size_t(), storage.nbytes(), std::move(data), nullptr, false);
}

at::Tensor shaped(const c10::Storage& storage, const at::Tensor& like, c10::DispatchKeySet keys, int64_t offset) {
  auto made = at::detail::make_tensor<c10::TensorImpl>(c10::Storage(storage), keys, like.dtype());
  made.unsafeGetTensorImpl()->set_sizes_and_strides(like.sizes(), like.strides(), offset);
  return made;
}

const c10::DispatchKeySet THERE(c10::DispatchKey::CUDA), HERE(c10::DispatchKey::CPU);

// ---- one operation ----

struct Call {
  c10::Device device{c10::DeviceType::CUDA, -1};
  std::unordered_map<const void*, c10::Storage> owners;  // by the address of their memory
  std::vector<std::pair<at::Tensor, at::Tensor>> twins;  // of the device, and of the processor with the same memory

  at::Tensor twin(const at::Tensor& tensor) {
    for (auto& [there, here_] : twins)
      if (there.is_same(tensor)) return here_;
    const auto& storage = tensor.storage();
    owners.emplace(storage.data(), storage);
    c10::DataPtr data(storage.mutable_data(), c10::Device(c10::kCPU));
    c10::Storage alias(c10::Storage::use_byte_size_t(), storage.nbytes(), std::move(data), c10::GetAllocator(c10::kCPU), true);
    auto made = shaped(alias, tensor, HERE, tensor.storage_offset());
    if (tensor.is_conj()) made._set_conj(true);
    if (tensor.is_neg()) made._set_neg(true);
    twins.emplace_back(tensor, made);
    return made;
  }

  at::Tensor back(const at::Tensor& result) {
    if (!result.defined() || result.device().type() != c10::kCPU) return result;
    for (auto& [there, here_] : twins)
      if (here_.is_same(result)) return there;
    auto found = owners.find(result.storage().data());
    auto storage = found != owners.end() && result.storage().nbytes() <= found->second.nbytes() && result.storage().data() != nullptr
        ? found->second
        : moved_in(result.storage(), device);
    return shaped(storage, result, THERE, result.storage_offset());
  }

  void resized() {  // outputs that were given and did not fit
    for (auto& [there, here_] : twins) {
      auto* own = there.unsafeGetTensorImpl();
      if (here_.storage().data() != there.storage().data()) own->set_storage_keep_dtype(moved_in(here_.storage(), device));
      if (here_.sizes() != there.sizes() || here_.strides() != there.strides())
        own->set_sizes_and_strides(here_.sizes(), here_.strides(), here_.storage_offset());
    }
  }
};

template <class Change>
c10::IValue changed(const c10::IValue& value, Change change) {
  if (value.isTensor()) return value.toTensor().defined() ? c10::IValue(change(value.toTensor())) : value;
  if (value.isTensorList()) {
    c10::List<at::Tensor> list;
    for (at::Tensor each : value.toTensorList()) list.push_back(each.defined() ? change(each) : each);
    return list;
  }
  if (value.isOptionalTensorList()) {
    c10::List<std::optional<at::Tensor>> list;
    for (std::optional<at::Tensor> each : value.toOptionalTensorList())
      list.push_back(each.has_value() && each->defined() ? std::optional<at::Tensor>(change(*each)) : each);
    return list;
  }
  return value;
}

void refuse_to_mix(const c10::OperatorHandle& op, c10::ArrayRef<c10::IValue> arguments, Call& call) {
  const auto& name = op.schema().name();
  // indices and positions of the processor are allowed where torch allows them
  bool may_mix = name == "aten::copy_" || name == "aten::index" || name == "aten::index_put_" || name == "aten::_index_put_impl_";
  bool host = false;
  auto look = [&](const at::Tensor& tensor) {
    if (is_there(tensor)) {
      TORCH_CHECK(may_mix || call.device.index() < 0 || call.device == tensor.device(),
          "Expected all tensors to be on the same device, but found at least two devices, ", call.device, " and ", tensor.device(), "! (", name, ")");
      call.device = tensor.device();
    } else if (tensor.dim() > 0) {
      host = true;
    }
    return tensor;
  };
  for (const auto& each : arguments) changed(each, look);
  TORCH_CHECK(may_mix || !host || call.device.index() < 0,
      "Expected all tensors to be on the same device, but found at least two devices, ", call.device, " and cpu! (", name, ")");
}

void run(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto& schema = op.schema();
  auto count = schema.arguments().size();
  auto arguments = torch::jit::last(*stack, count);
  Call call;
  refuse_to_mix(op, arguments, call);
  bool makes = call.device.index() < 0;  // of nothing on the device
  for (size_t number = 0; number < count; ++number) {
    auto& value = (*stack)[stack->size() - count + number];
    if (value.isDevice() && value.toDevice().is_cuda()) {
      if (makes) call.device = value.toDevice();
      value = c10::Device(c10::kCPU);
    }
    value = changed(value, [&](const at::Tensor& each) { return is_there(each) ? call.twin(each) : each; });
  }
  if (call.device.index() < 0) call.device = Guard::at_hand();
  op.redispatchBoxed(HERE, stack);
  call.resized();
  auto results = schema.returns().size();
  for (size_t number = 0; number < results; ++number) {
    auto& value = (*stack)[stack->size() - results + number];
    value = changed(value, [&](const at::Tensor& each) { return call.back(each); });
  }
}

int64_t plain_attention(const at::Tensor&, const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, double, bool,
                        std::optional<double>, bool) {
  return 0;  // arithmetic written out: the processor has no twins of CUDA's fused kernels
}

void nothing(at::Tensor&, c10::Stream) {}

at::Tensor& take(at::Tensor& self, at::Storage source, c10::SymInt offset, c10::SymIntArrayRef sizes, c10::SymIntArrayRef strides) {
  auto* own = self.unsafeGetTensorImpl();
  own->set_storage_keep_dtype(std::move(source));
  own->set_sizes_and_strides(C10_AS_INTARRAYREF_SLOW(sizes), C10_AS_INTARRAYREF_SLOW(strides), offset.expect_int());
  return self;
}

at::Tensor& take_all(at::Tensor& self, at::Storage source) {
  auto count = static_cast<int64_t>(source.nbytes() / self.dtype().itemsize());
  return take(self, std::move(source), 0, {count}, {1});
}
// The memory of a tensor of the device as the processor's, which lasts as long as either of them.
at::Tensor memory_of(const at::Tensor& tensor) {
  auto* room = static_cast<Room*>(tensor.storage().data_ptr().get_context());
  return shaped(room->held, tensor, HERE, tensor.storage_offset());
}
}  // namespace

TORCH_LIBRARY_FRAGMENT(pretend, library) { library.def("memory_of(Tensor(a) tensor) -> Tensor(a)"); }
TORCH_LIBRARY_IMPL(pretend, CUDA, library) { library.impl("memory_of", &memory_of); }

TORCH_LIBRARY_IMPL(_, CUDA, library) { library.fallback(torch::CppFunction::makeFromBoxedFunction<&run>()); }

TORCH_LIBRARY_IMPL(aten, CUDA, library) {
  library.impl("copy_", torch::CppFunction::makeFromBoxedFunction<&run>());  // for any device, says torch, and looks for CUDA's
  library.impl("_fused_sdp_choice", &plain_attention);
  library.impl("record_stream", &nothing);
  library.impl("set_.source_Storage", &take_all);
  library.impl("set_.source_Storage_storage_offset", &take);
}

TORCH_LIBRARY_IMPL(bitsandbytes, CUDA, library) {
  for (auto* name : {"quantize_4bit", "dequantize_4bit", "dequantize_4bit.out", "gemv_4bit", "gemv_4bit.out", "gemm_4bit",
                     "quantize_blockwise", "dequantize_blockwise", "dequantize_blockwise.out", "optimizer_update_8bit_blockwise",
                     "optimizer_update_32bit", "int8_linear_matmul", "int8_linear_matmul.out", "int8_vectorwise_quant"})
    library.impl(name, torch::CppFunction::makeFromBoxedFunction<&run>());
}

extern "C" {
void pretend_start() {
  c10::impl::device_guard_impl_registry[static_cast<size_t>(c10::DeviceType::CUDA)].store(&guard);
  // torch has made its own by now; neither has members
  new (const_cast<at::CUDAHooksInterface*>(&at::detail::getCUDAHooks())) Hooks(at::CUDAHooksArgs{});
  at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);
}
int pretend_device() { return here; }
void pretend_set_device(int device) { here = static_cast<c10::DeviceIndex>(device); }
int64_t pretend_allocated(int device) { return allocated[device]; }
int64_t pretend_peak(int device) { return peak[device]; }
void pretend_reset_peak(int device) { peak[device] = allocated[device]; }
void pretend_limit(int device, int64_t bytes) { limit[device] = bytes; }
void pretend_pin(uintptr_t address, size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex);
  pinned[address] = bytes;
}
void pretend_unpin(uintptr_t address) {
  std::lock_guard<std::mutex> lock(mutex);
  pinned.erase(address);
}
}

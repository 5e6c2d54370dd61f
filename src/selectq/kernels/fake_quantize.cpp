// Layers with fake quantization.

#include "common.hpp"

#include <cmath>
#include <optional>

namespace {

// Bias, activation function and fake quantization. Keeps, for the gradient, which values are on the grid.
class FakeQuantize {
 public:
  struct Worker {
    const float* bias;
    uint8_t* mask;
    int64_t channels;
    float inverse, scale, zero_point, low, high;
    Floats lowest, highest;

    template <class Count>
    Floats operator()(Floats raw, int64_t row, int64_t c, Count count) {
      const Floats x = raw + load<Floats>(bias + c, count);
      const Floats shown = count == LANES ? x : only_first(x, count);
      lowest = smaller(lowest, shown);
      highest = larger(highest, shown);
      const Floats far = fill(1e6f);  // saturates all the same, and is within what `nearest` can round
      const Floats level = nearest(larger(-far, smaller(far, x * inverse))) + zero_point;
      const Floats clamped = larger(fill(low), smaller(fill(high), level));
      store(mask + row * channels + c, __builtin_convertvector((level == clamped) & 1, Bytes), count);
      return (clamped - zero_point) * scale;
    }
    void end_block() {}
    static Floats only_first(Floats x, int64_t count) {
      for (int64_t lane = count; lane < LANES; ++lane) x[lane] = x[0];
      return x;
    }
  };

  FakeQuantize(const Tensor& bias, const Tensor& mask, double scale, double zero_point, double low, double high)
      : start_{bias.data_ptr<float>(), mask.data_ptr<uint8_t>(), bias.numel(), 1.0f / static_cast<float>(scale),
               static_cast<float>(scale), static_cast<float>(zero_point), static_cast<float>(low),
               static_cast<float>(high), fill(std::numeric_limits<float>::infinity()),
               fill(-std::numeric_limits<float>::infinity())},
        done_(at::get_num_threads(), start_) {}
  Worker worker(int) const { return start_; }
  void done(int thread, const Worker& worker) { done_[thread] = worker; }
  Tensor lowest() const {
    float found = std::numeric_limits<float>::infinity();
    for (const Worker& worker : done_)
      for (int64_t lane = 0; lane < LANES; ++lane) found = std::min(found, worker.lowest[lane]);
    return at::scalar_tensor(found, at::kFloat);
  }
  Tensor highest() const {
    float found = -std::numeric_limits<float>::infinity();
    for (const Worker& worker : done_)
      for (int64_t lane = 0; lane < LANES; ++lane) found = std::max(found, worker.highest[lane]);
    return at::scalar_tensor(found, at::kFloat);
  }

 private:
  Worker start_;
  std::vector<Worker> done_;
};

// Of FakeQuantize: straight through where the value is on the grid.
class MaskedGradient {
 public:
  MaskedGradient(Tensor gradient, Tensor mask)
      : gradient_(gradient.data_ptr<float>()), mask_(mask.data_ptr<uint8_t>()), channels_(gradient.size(-1)) {}
  template <class Count>
  Floats operator()(int64_t row, int64_t c, Count count) const {
    const int64_t at = row * channels_ + c;
    return load<Floats>(gradient_ + at, count) *
           __builtin_convertvector(load<Bytes>(mask_ + at, count), Floats);
  }

 private:
  const float* gradient_;
  const uint8_t* mask_;
  int64_t channels_;
};

// y, mask (M, C), smallest and largest value (scalars) before
using Quantized = std::tuple<Tensor, Tensor, Tensor, Tensor>;

// Convolution, bias, activation, fake quantization. `low` and `high` are the lowest and highest level.
Quantized quantized_layer(const Tensor& x, const Tensor& weight, const Tensor& bias, int64_t stride, double scale,
                          double zero_point, double low, double high) {
  const Tensor mask = at::empty({output_rows(x, stride), bias.numel()}, at::kByte);
  FakeQuantize finish(bias, mask, scale, zero_point, low, high);
  const Tensor y = layer(x, weight, stride, finish);
  return {y, mask, finish.lowest(), finish.highest()};
}

// `height` and `width` are x's, which is not read, and may be empty, unless for the weight's gradient.
Gradients quantized_layer_backward(const Tensor& gradient, const Tensor& mask, const Tensor& x, const Tensor& weight,
                                   int64_t height, int64_t width, int64_t stride, bool for_input, bool for_weight,
                                   bool for_bias) {
  const Geometry g(gradient.size(0), height, width, gradient.size(3), stride);
  return layer_gradients(MaskedGradient(gradient, mask), gradient, x, weight, g, {for_input, for_weight, for_bias});
}

// Bias, activation, fake quantization of what was computed elsewhere, (..., C).
Quantized quantized_rows(const Tensor& raw, const Tensor& bias, double scale, double zero_point, double low,
                         double high) {
  const Tensor y = at::empty_like(raw), rows = as_rows(raw), mask = at::empty(rows.sizes(), at::kByte);
  FakeQuantize finish(bias, mask, scale, zero_point, low, high);
  finish_all(rows, as_rows(y), finish);
  return {y, mask, finish.lowest(), finish.highest()};
}

std::tuple<Tensor, Tensor> quantized_rows_backward(const Tensor& gradient, const Tensor& mask, bool for_bias) {
  auto [of_raw, of_bias] = raw_gradient(MaskedGradient(gradient, mask), mask.size(0), mask.size(1), for_bias);
  return {of_raw.view(gradient.sizes()), of_bias};
}

// ---------------------------------------------------------------------------------------------------- lookups
constexpr int64_t CHUNK = 4096;  // values

// Calls work(thread, begin, count) with the chunks of a tensor's values.
template <class Work>
void each_chunk(int64_t count, Work work) {
  share((count + CHUNK - 1) / CHUNK, [&](int thread, int64_t begin, int64_t end) {
    for (int64_t at = begin * CHUNK; at < std::min(end * CHUNK, count); at += CHUNK)
      work(thread, at, std::min(CHUNK, count - at));
  });
}

// What an elementwise function and its fake quantization make of values that are codes times a scale: `stored`, by
// code. Keeps the codes for the gradient. `raw` is what the function alone makes of each code.
Quantized looked_up(const Tensor& x, double scale, double zero_point, const Tensor& stored, const Tensor& raw) {
  const Tensor y = at::empty_like(x), codes = at::empty(x.sizes(), at::kByte);
  const float *from = x.data_ptr<float>(), *table = stored.data_ptr<float>(), *before = raw.data_ptr<float>();
  const float inverse = 1.0f / static_cast<float>(scale), shift = zero_point;
  float* to = y.data_ptr<float>();
  uint8_t* kept = codes.data_ptr<uint8_t>();
  std::vector<std::vector<char>> occurs(at::get_num_threads(), std::vector<char>(raw.numel()));
  each_chunk(x.numel(), [&](int thread, int64_t begin, int64_t count) {
    char* found = occurs[thread].data();
    each_vector(count, [&](int64_t i, auto lanes) {
      const Floats code = nearest(load<Floats>(from + begin + i, lanes) * inverse) + shift;
      store(kept + begin + i, __builtin_convertvector(__builtin_convertvector(code, Ints), Bytes), lanes);
    });
    for (int64_t i = begin; i < begin + count; ++i) to[i] = table[kept[i]];
    for (int64_t i = begin; i < begin + count; ++i) found[kept[i]] = true;
  });
  float lowest = std::numeric_limits<float>::infinity(), highest = -lowest;
  for (const auto& found : occurs)
    for (size_t code = 0; code < found.size(); ++code)
      if (found[code]) lowest = std::min(lowest, before[code]), highest = std::max(highest, before[code]);
  return {y, codes, at::scalar_tensor(lowest, at::kFloat), at::scalar_tensor(highest, at::kFloat)};
}

// `slopes` are the derivatives by code.
Tensor looked_up_backward(const Tensor& gradient, const Tensor& codes, const Tensor& slopes) {
  const Tensor result = at::empty_like(gradient);
  const float *from = gradient.data_ptr<float>(), *table = slopes.data_ptr<float>();
  const uint8_t* kept = codes.data_ptr<uint8_t>();
  float* to = result.data_ptr<float>();
  each_chunk(gradient.numel(), [&](int, int64_t begin, int64_t count) {
    for (int64_t i = begin; i < begin + count; ++i) to[i] = from[i] * table[kept[i]];
  });
  return result;
}

// ------------------------------------------------------------------------------------------------- parameters
// `to` gets the nearest values on a grid of `count` values with codes up to `last` either way.
void on_grid(const float* values, float* to, int64_t count, float scale, float last) {
  const float inverse = 1 / scale;
  each_vector(count, [&](int64_t i, auto lanes) {
    const Floats level = larger(fill(-last), smaller(fill(last), load<Floats>(values + i, lanes) * inverse));
    store(to + i, nearest(level) * scale, lanes);  // a clamp between product and sum: they must not become one operation
  });
}

// A layer's fake-quantized weight (O, ...) and bias (O), as `WeightQuantizer` in quantization/quantizers.py gives them.
// `scales` and `bias_scales` are (O) or (1).
std::tuple<Tensor, Tensor> quantized_parameters(const Tensor& weight, const Tensor& bias, const Tensor& scales,
                                                const Tensor& bias_scales, double last_level, double last_bias_level) {
  const int64_t outputs = bias.numel(), per_output = weight.numel() / outputs, step = scales.numel() > 1;
  TORCH_CHECK(weight.is_non_overlapping_and_dense() && weight.stride(0) == per_output);
  const Tensor codes = at::empty_like(weight), bias_levels = at::empty_like(bias);
  const float *from = weight.data_ptr<float>(), *biases = bias.data_ptr<float>(), *scale = scales.data_ptr<float>(),
              *bias_scale = bias_scales.data_ptr<float>();
  share(outputs, [&](int, int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      on_grid(from + o * per_output, codes.data_ptr<float>() + o * per_output, per_output, scale[o * step], last_level);
      const float level = std::rint(biases[o] * (1 / bias_scale[o * step])), last = last_bias_level;
      bias_levels.data_ptr<float>()[o] = std::clamp(level, -last, last) * bias_scale[o * step];
    }
  });
  return {codes, bias_levels};
}

}  // namespace

TORCH_LIBRARY(selectq_fake_quantize, library) {
  library.def("looked_up", &looked_up);
  library.def("looked_up_backward", &looked_up_backward);
  library.def("quantized_layer", &quantized_layer);
  library.def("quantized_layer_backward", &quantized_layer_backward);
  library.def("quantized_parameters", &quantized_parameters);
  library.def("quantized_rows", &quantized_rows);
  library.def("quantized_rows_backward", &quantized_rows_backward);
}

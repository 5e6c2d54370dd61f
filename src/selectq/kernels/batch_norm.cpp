// Layers with batch norm in training mode.

#include "common.hpp"

#include <cmath>

namespace {

// Leaves the raw output as it is and sums it and its square, per channel, for batch norm.
class Statistics {
 public:
  struct Worker {
    ColumnSums::Part sum, square;

    template <class Count>
    Floats operator()(Floats raw, int64_t, int64_t c, Count count) {
      add_to(sum.block + c, raw, count);
      add_to(square.block + c, raw * raw, count);
      return raw;
    }
    void end_block() {
      sum.end_block();
      square.end_block();
    }
  };

  explicit Statistics(int64_t channels) : sum_(channels), square_(channels) {}
  Worker worker(int thread) { return {sum_.part(thread), square_.part(thread)}; }
  void done(int, const Worker&) {}
  Tensor sum() const { return sum_.sum(); }
  Tensor square() const { return square_.sum(); }

 private:
  ColumnSums sum_, square_;
};

// Batch norm and activation function of a raw output: lets a gradient pass where the value is strictly between the
// bounds, as torch's relu and relu6.
class Activated {
 public:
  Activated(const Tensor& raw, const Tensor& factor, const Tensor& offset, double low, double high)
      : raw_(raw.data_ptr<float>()), factor_(factor.data_ptr<float>()), offset_(offset.data_ptr<float>()),
        channels_(raw.size(-1)), low_(low), high_(high) {}
  template <class Count>
  Floats raw(int64_t row, int64_t c, Count count) const { return load<Floats>(raw_ + row * channels_ + c, count); }
  template <class Count>
  Floats passed(Floats gradient, int64_t row, int64_t c, Count count) const {
    const Floats x = raw(row, c, count) * load<Floats>(factor_ + c, count) + load<Floats>(offset_ + c, count);
    return ((x > fill(low_)) & (x < fill(high_))) ? gradient : Floats{};
  }

 private:
  const float *raw_, *factor_, *offset_;
  int64_t channels_;
  float low_, high_;
};

// Per channel: the sum of the activation's gradient, and of its product with the raw output.
class GradientSums {
 public:
  struct Column {
    Activated activated;
    Floats sum, product;

    template <class Count>
    void add(Floats gradient, int64_t row, int64_t c, Count count) {
      const Floats value = activated.passed(gradient, row, c, count);
      sum += value;
      product += value * activated.raw(row, c, count);
    }
  };
  struct Worker {
    Activated activated;
    ColumnSums::Part sum, product;

    Column column() const { return {activated, Floats{}, Floats{}}; }
    template <class Count>
    void end_column(const Column& column, int64_t c, Count count) {
      add_to(sum.block + c, column.sum, count);
      add_to(product.block + c, column.product, count);
    }
    void end_block() {
      sum.end_block();
      product.end_block();
    }
  };

  GradientSums(Activated activated, int64_t channels) : activated_(activated), sum_(channels), product_(channels) {}
  Worker worker(int thread) { return {activated_, sum_.part(thread), product_.part(thread)}; }
  Tensor sum() const { return sum_.sum(); }
  Tensor product() const { return product_.sum(); }

 private:
  Activated activated_;
  ColumnSums sum_, product_;
};

// Of batch norm and activation: a per-channel combination of the activation's gradient, the raw output, and 1.
class BatchNormGradient {
 public:
  BatchNormGradient(const Tensor& gradient, Activated activated, const Tensor& coefficients)
      : gradient_(gradient.data_ptr<float>()), activated_(activated), coefficients_(coefficients.data_ptr<float>()),
        channels_(coefficients.size(1)) {}
  template <class Count>
  Floats operator()(int64_t row, int64_t c, Count count) const {
    const float* of = coefficients_ + c;
    const Floats gradient = load<Floats>(gradient_ + row * channels_ + c, count);
    return activated_.passed(gradient, row, c, count) * load<Floats>(of, count) +
           activated_.raw(row, c, count) * load<Floats>(of + channels_, count) +
           load<Floats>(of + 2 * channels_, count);
  }

 private:
  const float* gradient_;
  Activated activated_;
  const float* coefficients_;  // (3, C)
  int64_t channels_;
};

// Convolution alone: raw output, and the sums of it and of its square per channel, float64.
std::tuple<Tensor, Tensor, Tensor> raw_layer(const Tensor& x, const Tensor& weight, int64_t stride) {
  Statistics finish(weight.size(0));
  const Tensor raw = layer(x, weight, stride, finish);
  return {raw, finish.sum(), finish.square()};
}

// Batch norm and activation of a raw output that are done on reading: clamp(raw * factor + offset, low, high).
class Normalised {
 public:
  Normalised(const Tensor& raw, const Tensor& factor, const Tensor& offset, double low, double high)
      : tensor(raw), raw_(raw), factor_(factor.data_ptr<float>()), offset_(offset.data_ptr<float>()), low_(fill(low)),
        high_(fill(high)) {}
  template <class Count>
  Floats operator()(int64_t row, int64_t c, Count count) const {
    const Floats x = raw_(row, c, count) * load<Floats>(factor_ + c, count) + load<Floats>(offset_ + c, count);
    return larger(low_, smaller(high_, x));
  }
  const Tensor tensor;

 private:
  Stored raw_;
  const float *factor_, *offset_;
  Floats low_, high_;
};

// As `raw_layer`, for a depthwise convolution of what batch norm and activation make of `before`, which is not stored.
std::tuple<Tensor, Tensor, Tensor> raw_layer_of_raw(const Tensor& before, const Tensor& factor, const Tensor& offset,
                                                    double low, double high, const Tensor& weight, int64_t stride) {
  Statistics finish(weight.size(0));
  const Normalised x(before, factor, offset, low, high);
  const Tensor raw = depthwise(x, as_taps(weight), Geometry(before, stride), finish);
  return {raw, finish.sum(), finish.square()};
}

// The sums of what was convolved elsewhere.
std::tuple<Tensor, Tensor> raw_statistics(const Tensor& raw) {
  Statistics finish(raw.size(3));
  finish_all(as_rows(raw), as_rows(raw), finish);
  return {finish.sum(), finish.square()};
}

// Batch norm under a batch's sums per channel: mean and inverse deviation (float64), and what they and the affine map
// come to, raw * factor + offset (float32). Moves the running statistics as torch does.
std::tuple<Tensor, Tensor, Tensor, Tensor> batch_norm_fit(
    const Tensor& sum, const Tensor& square, int64_t count, const Tensor& weight, const Tensor& bias,
    const Tensor& running_mean, const Tensor& running_variance, double momentum, double epsilon) {
  const int64_t channels = weight.numel();
  const Tensor mean = sum / count, inverse = at::empty({channels}, at::kDouble);
  const Tensor factor = at::empty({channels}, at::kFloat), offset = at::empty({channels}, at::kFloat);
  const float *by = weight.data_ptr<float>(), *plus = bias.data_ptr<float>();
  float *old_mean = running_mean.data_ptr<float>(), *old_variance = running_variance.data_ptr<float>();
  for (int64_t c = 0; c < channels; ++c) {
    const double of = mean.data_ptr<double>()[c];
    const double variance = std::max(square.data_ptr<double>()[c] / count - of * of, 0.0);
    const double deviation = std::sqrt(variance + epsilon), unbiased = variance * count / std::max<int64_t>(count - 1, 1);
    inverse.data_ptr<double>()[c] = 1 / deviation;
    factor.data_ptr<float>()[c] = by[c] / deviation;
    offset.data_ptr<float>()[c] = plus[c] - of * by[c] / deviation;
    old_mean[c] += momentum * (of - old_mean[c]);
    old_variance[c] += momentum * (unbiased - old_variance[c]);
  }
  return {mean, inverse, factor, offset};
}

// From the sums of the activation's gradient d and of d times the raw output: the gradients of the batch norm's weight
// and bias, and the coefficients (3, C) of d, of the raw output and of 1 in the raw output's gradient.
//
// That is weight / deviation * (d - mean(d) - x * mean(d * x)), x being the normalised output (Ioffe and Szegedy 2015).
std::tuple<Tensor, Tensor, Tensor> batch_norm_coefficients(const Tensor& sum, const Tensor& product, const Tensor& mean,
                                                           const Tensor& inverse, const Tensor& weight, int64_t count) {
  const int64_t channels = weight.numel();
  const Tensor of_weight = at::empty({channels}, at::kFloat), of_raw = at::empty({3, channels}, at::kFloat);
  float* rows = of_raw.data_ptr<float>();
  for (int64_t c = 0; c < channels; ++c) {
    const double total = sum.data_ptr<double>()[c], of = mean.data_ptr<double>()[c];
    const double over = inverse.data_ptr<double>()[c], by = weight.data_ptr<float>()[c] * over;
    const double aligned = over * (product.data_ptr<double>()[c] - of * total);  // sum of d * x
    const double by_raw = -by * over * aligned / count;
    of_weight.data_ptr<float>()[c] = aligned;
    rows[c] = by;
    rows[channels + c] = by_raw;
    rows[2 * channels + c] = -by * total / count - by_raw * of;
  }
  return {of_weight, sum.to(at::kFloat), of_raw};
}

// What batch norm and activation make of a raw output.
Tensor normalise(const Tensor& raw, const Tensor& factor, const Tensor& offset, double low, double high) {
  const int64_t channels = raw.size(3);
  const Tensor y = empty_behind(raw, raw.sizes());
  const Normalised shared(raw, factor, offset, low, high);
  float* to = y.data_ptr<float>();
  each_block(raw.numel() / channels, channels, [&](int, int64_t first, int64_t count) {
    const Normalised x = shared;
    for (int64_t row = first; row < first + count; ++row)
      each_vector(channels, [&](int64_t c, auto lanes) { store(to + row * channels + c, x(row, c, lanes), lanes); });
  });
  return y;
}

// The sums of `GradientSums` of a gradient that was made elsewhere.
std::tuple<Tensor, Tensor> batch_norm_sums(const Tensor& gradient, const Tensor& raw, const Tensor& factor,
                                           const Tensor& offset, double low, double high) {
  const int64_t channels = raw.size(3);
  const float* from = gradient.data_ptr<float>();
  GradientSums sums({raw, factor, offset, low, high}, channels);
  each_block(raw.numel() / channels, channels, [&](int thread, int64_t first, int64_t count) {
    auto worker = sums.worker(thread);
    for (int64_t row = first; row < first + count; ++row)
      each_vector(channels, [&](int64_t c, auto lanes) {
        auto column = worker.column();
        column.add(load<Floats>(from + row * channels + c, lanes), row, c, lanes);
        worker.end_column(column, c, lanes);
      });
    worker.end_block();
  });
  return {sums.sum(), sums.product()};
}

// Of convolution, batch norm and activation; `coefficients` as `batch_norm_coefficients` gives them.
Gradients normalised_layer_backward(const Tensor& gradient, const Tensor& raw, const Tensor& factor,
                                    const Tensor& offset, double low, double high, const Tensor& coefficients,
                                    const Tensor& x, const Tensor& weight, int64_t stride) {
  const BatchNormGradient inner(gradient, {raw, factor, offset, low, high}, coefficients);
  return layer_gradients(inner, gradient, x, weight, Geometry(x, stride), {true, true, false});
}

// Of what `raw_layer_of_raw` computes, and of the batch norm and activation after it: the gradients of what batch norm
// and activation made of `before` and of the weight, and `GradientSums` of the former.
std::tuple<Tensor, Tensor, Tensor, Tensor> normalised_layer_of_raw_backward(
    const Tensor& gradient, const Tensor& raw, const Tensor& factor, const Tensor& offset, double low, double high,
    const Tensor& coefficients, const Tensor& before, const Tensor& factor_before, const Tensor& offset_before,
    double low_before, double high_before, const Tensor& weight, int64_t stride) {
  const BatchNormGradient inner(gradient, {raw, factor, offset, low, high}, coefficients);
  const Normalised x(before, factor_before, offset_before, low_before, high_before);
  GradientSums sums({before, factor_before, offset_before, low_before, high_before}, before.size(3));
  auto [of_x, of_taps, of_bias] =
      depthwise_gradients<true, true>(inner, x, as_taps(weight), Geometry(before, stride), false, sums);
  return {of_x, from_taps(of_taps, weight), sums.sum(), sums.product()};
}

Tensor normalised_rows_backward(const Tensor& gradient, const Tensor& raw, const Tensor& factor, const Tensor& offset,
                                double low, double high, const Tensor& coefficients) {
  const BatchNormGradient inner(gradient, {raw, factor, offset, low, high}, coefficients);
  const Tensor rows = as_rows(raw);
  return like_rows(std::get<0>(raw_gradient(inner, rows.size(0), rows.size(1), false)), raw);
}

}  // namespace

TORCH_LIBRARY(selectq_batch_norm, library) {
  library.def("raw_layer", &raw_layer);
  library.def("raw_layer_of_raw", &raw_layer_of_raw);
  library.def("raw_statistics", &raw_statistics);
  library.def("batch_norm_fit", &batch_norm_fit);
  library.def("normalise", &normalise);
  library.def("batch_norm_sums", &batch_norm_sums);
  library.def("batch_norm_coefficients", &batch_norm_coefficients);
  library.def("normalised_layer_backward", &normalised_layer_backward);
  library.def("normalised_layer_of_raw_backward", &normalised_layer_of_raw_backward);
  library.def("normalised_rows_backward", &normalised_rows_backward);
}

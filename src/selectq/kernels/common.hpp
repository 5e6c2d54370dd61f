// What the kernels share: training layers in one pass over memory, a convolution and what follows it while its block is
// still in the cache.
//
// Activations are float32, (N, H, W, C), seen as rows of pixels: (N * H * W, C). A *finish* turns a convolution's raw
// output into the stored one; it hands every thread a worker, which holds what the inner loop changes, and takes it back
// when it is done. A *gradient* gives, from the stored output's gradient, that of the raw output. A convolution is
// pointwise (a matrix product), depthwise (3 x 3 or 5 x 5, padded by half of it), or done elsewhere and only finished
// here.
// For a given number of threads, every sum has one order: results are the same bits from run to run.

#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <tuple>
#include <type_traits>
#include <vector>

namespace {

using at::Tensor;

// ---------------------------------------------------------------------------------------------------- vectors
// Of the processor that compiles this: of wider ones, a compiler keeps the parts in memory, at half the speed.
#if defined(__AVX512F__)
constexpr int64_t LANES = 16;
#elif defined(__AVX__)
constexpr int64_t LANES = 8;
#else
constexpr int64_t LANES = 4;
#endif
using Floats = float __attribute__((vector_size(4 * LANES)));
using Ints = int32_t __attribute__((vector_size(4 * LANES)));
using Bytes = uint8_t __attribute__((vector_size(LANES)));

// How many lanes of a vector are used: all, known to the compiler, or those left at the end of a row.
using All = std::integral_constant<int64_t, LANES>;

template <class Vector, class Value, class Count>
inline Vector load(const Value* from, Count count) {
  Vector vector{};
  std::memcpy(&vector, from, count * sizeof(Value));
  return vector;
}

template <class Vector, class Value, class Count>
inline void store(Value* to, const Vector& vector, Count count) {
  std::memcpy(to, &vector, count * sizeof(Value));
}

Floats fill(float value) { return Floats{} + value; }
Floats smaller(Floats a, Floats b) { return a < b ? a : b; }
Floats larger(Floats a, Floats b) { return a > b ? a : b; }

// Nearest, half to even, for |x| up to 2^22: above 1.5 * 2^23 float32 holds whole numbers only.
Floats nearest(Floats x) {
  const float shift = 12582912.0f;
  return (x + shift) - shift;
}

template <class Visit>
inline void each_vector(int64_t channels, Visit visit) {
  int64_t c = 0;
  for (; c + LANES <= channels; c += LANES) visit(c, All{});
  if (c < channels) visit(c, channels - c);
}

// ---------------------------------------------------------------------------------------------------- outputs
constexpr int64_t PAGE = 4096, LEAD = 512;  // bytes

// A new tensor for a loop that reads `read` and writes to the same places here. A processor takes a load for dependent
// on a store a short while before whose address is equal modulo 4096, and waits for it: several times as long as the
// loop itself. So the stores run a little behind the loads in that measure.
Tensor empty_behind(const Tensor& read, at::IntArrayRef sizes) {
  const int64_t count = c10::multiply_integers(sizes);
  const Tensor whole = at::empty({count + PAGE / 4}, at::kFloat);
  const auto offset = [](const Tensor& tensor) { return reinterpret_cast<uintptr_t>(tensor.data_ptr<float>()) % PAGE; };
  const int64_t shift = (offset(read) + 2 * PAGE - LEAD - offset(whole)) % PAGE;
  return whole.narrow(0, shift / 4, count).view(sizes);
}

// ---------------------------------------------------------------------------------------------------- threads
constexpr int64_t BLOCK_FLOATS = 96 * 1024;  // of a block's inputs and outputs together: within a core's own cache

int64_t block_rows(int64_t columns) { return std::max<int64_t>(BLOCK_FLOATS / columns, 32); }

// Calls work(thread, begin, end) with consecutive shares of [0, count).
template <class Work>
void share(int64_t count, Work work) {
  at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) { work(at::get_thread_num(), begin, end); });
}

// Columns summed over rows, in float within a block and in double over blocks and threads.
class ColumnSums {
 public:
  struct Part {  // of one thread
    float* block;
    double* total;
    int64_t columns;
    void end_block() {
      for (int64_t c = 0; c < columns; ++c) {
        total[c] += block[c];
        block[c] = 0;
      }
    }
  };
  explicit ColumnSums(int64_t columns)
      : columns_(columns), block_(at::get_num_threads(), std::vector<float>(columns)),
        total_(at::get_num_threads(), std::vector<double>(columns)) {}
  Part part(int thread) { return {block_[thread].data(), total_[thread].data(), columns_}; }
  Tensor sum() const {
    Tensor result = at::zeros({columns_}, at::kDouble);
    double* sums = result.data_ptr<double>();
    for (const auto& total : total_)
      for (int64_t c = 0; c < columns_; ++c) sums[c] += total[c];
    return result;
  }

 private:
  int64_t columns_;
  std::vector<std::vector<float>> block_;
  std::vector<std::vector<double>> total_;
};

template <class Count>
inline void add_to(float* sums, Floats values, Count count) {
  store(sums, load<Floats>(sums, count) + values, count);
}

// -------------------------------------------------------------------------------------------------- pointwise
Tensor rows_of(float* start, int64_t rows, int64_t columns) { return at::from_blob(start, {rows, columns}, at::kFloat); }

// Finishes `rows` rows from `first` on; `raw` and `y` may be the same place.
template <class Worker>
void finish_rows(Worker& worker, const float* raw, float* y, int64_t first, int64_t rows, int64_t channels) {
  for (int64_t row = first; row < first + rows; ++row)
    each_vector(channels, [&](int64_t c, auto count) {
      const int64_t at = row * channels + c;
      store(y + at, worker(load<Floats>(raw + at, count), row, c, count), count);
    });
  worker.end_block();
}

// Writes the raw output's gradient of `rows` rows from `first` on to `raw`, and adds it to `sums` if asked to.
template <class Gradient>
void gradient_rows(Gradient gradient, ColumnSums::Part sums, bool for_sums, float* raw, int64_t first, int64_t rows,
                   int64_t channels) {
  for (int64_t row = 0; row < rows; ++row)
    each_vector(channels, [&](int64_t c, auto count) {
      const Floats value = gradient(first + row, c, count);
      if (for_sums) add_to(sums.block + c, value, count);
      store(raw + row * channels + c, value, count);
    });
  sums.end_block();
}

// x (M, I), weight (O, I) -> y (M, O)
template <class Finish>
Tensor pointwise(const Tensor& x, const Tensor& weight, Finish& finish) {
  const int64_t rows = x.size(0), in = x.size(1), out = weight.size(0), step = block_rows(in + out);
  Tensor y = at::empty({rows, out}, x.options());
  float *from = x.data_ptr<float>(), *to = y.data_ptr<float>();
  const Tensor right = rows_of(weight.data_ptr<float>(), out, in).t();
  share((rows + step - 1) / step, [&](int thread, int64_t begin, int64_t end) {
    auto worker = finish.worker(thread);
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * step, count = std::min(step, rows - first);
      Tensor part = rows_of(to + first * out, count, out);
      at::mm_out(part, rows_of(from + first * in, count, in), right);
      finish_rows(worker, to, to, first, count, out);
    }
    finish.done(thread, worker);
  });
  return y;
}

// Which gradients of a layer are asked for; the others are empty, and those of the bias 0.
struct Asked {
  bool input, weight, bias;
};

// Gradients of input (M, I), of weight (O, I), of what is added to every row (O).
template <class Gradient>
std::tuple<Tensor, Tensor, Tensor> pointwise_gradients(const Gradient& gradient, const Tensor& x, const Tensor& weight,
                                                       Asked asked, int64_t rows) {
  const int64_t in = weight.size(1), out = weight.size(0), step = block_rows(in + 2 * out);
  Tensor of_x = asked.input ? at::empty({rows, in}, weight.options()) : at::empty({0}, weight.options());
  std::vector<Tensor> of_weight(asked.weight ? at::get_num_threads() : 0);
  for (auto& part : of_weight) part = at::zeros({out, in}, weight.options());
  ColumnSums of_bias(out);
  const Tensor left = rows_of(weight.data_ptr<float>(), out, in);
  float* from = asked.weight ? x.data_ptr<float>() : nullptr;
  share((rows + step - 1) / step, [&](int thread, int64_t begin, int64_t end) {
    std::vector<float> raw(step * out);
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * step, count = std::min(step, rows - first);
      gradient_rows(gradient, of_bias.part(thread), asked.bias, raw.data(), first, count, out);
      const Tensor part = rows_of(raw.data(), count, out);
      if (asked.input) {
        Tensor target = rows_of(of_x.data_ptr<float>() + first * in, count, in);
        at::mm_out(target, part, left);
      }
      if (asked.weight) of_weight[thread].addmm_(part.t(), rows_of(from + first * in, count, in));
    }
  });
  for (size_t thread = 1; thread < of_weight.size(); ++thread) of_weight[0].add_(of_weight[thread]);
  return {of_x, asked.weight ? of_weight[0] : at::empty({0}, weight.options()), of_bias.sum()};
}

// -------------------------------------------------------------------------------------------------- depthwise
struct Geometry {
  int64_t images, height, width, channels, stride, out_height, out_width;
  Geometry(int64_t images_, int64_t height_, int64_t width_, int64_t channels_, int64_t stride_)
      : images(images_), height(height_), width(width_), channels(channels_), stride(stride_),
        out_height((height_ - 1) / stride_ + 1), out_width((width_ - 1) / stride_ + 1) {}
  Geometry(const Tensor& x, int64_t stride_) : Geometry(x.size(0), x.size(1), x.size(2), x.size(3), stride_) {}
  int64_t in_row(int64_t n, int64_t h, int64_t w) const { return (n * height + h) * width + w; }
  int64_t out_row(int64_t n, int64_t h, int64_t w) const { return (n * out_height + h) * out_width + w; }
};

// One image as planes of LANES channels with a border of zeros: every tap of every pixel exists, and a pixel's
// neighbours lie close together.
template <int64_t SIDE>
class Planes {
 public:
  explicit Planes(const Geometry& g)
      : width_(g.width + 2 * BORDER), plane_((g.height + 2 * BORDER) * width_),
        pixels_((g.channels + LANES - 1) / LANES * plane_) {}
  Floats& at(int64_t c, int64_t h, int64_t w) {
    return pixels_[c / LANES * plane_ + (h + BORDER) * width_ + w + BORDER];
  }
  // The pixel that a filter's first tap meets when the filter is centred on (h, w).
  const Floats* corner(int64_t c, int64_t h, int64_t w) const { return &pixels_[c / LANES * plane_ + h * width_ + w]; }
  int64_t tap(int64_t index) const { return index / SIDE * width_ + index % SIDE; }

 private:
  static constexpr int64_t BORDER = SIDE / 2;
  int64_t width_, plane_;
  std::vector<Floats> pixels_;
};

// Calls visit(first, last) with bands of an image's rows: whole images are read and written from front to back, in
// pieces of which every channel is done before the next.
template <class Visit>
void each_band(int64_t height, int64_t row_floats, Visit visit) {
  const int64_t step = std::max<int64_t>(BLOCK_FLOATS / 8 / row_floats, 1);
  for (int64_t h = 0; h < height; h += step) visit(h, std::min(h + step, height));
}

// What a depthwise convolution reads: a stored tensor (N, H, W, C), empty where it is not read.
class Stored {
 public:
  explicit Stored(const Tensor& x) : tensor(x), x_(x.data_ptr<float>()), channels_(x.size(-1)) {}
  template <class Count>
  Floats operator()(int64_t row, int64_t c, Count count) const {
    return load<Floats>(x_ + row * channels_ + c, count);
  }
  const Tensor tensor;

 private:
  const float* x_;
  int64_t channels_;
};

// source (N, H, W, C), weight (SIDE * SIDE, C) -> y (N, H', W', C)
template <int64_t SIDE, class Source, class Finish>
Tensor depthwise_of_side(const Source& source, const Tensor& weight, const Geometry& g, Finish& finish) {
  constexpr int64_t TAPS = SIDE * SIDE;
  const int64_t channels = g.channels;
  Tensor y = at::empty({g.images, g.out_height, g.out_width, channels}, at::kFloat);
  const float* filters = weight.data_ptr<float>();
  float* to = y.data_ptr<float>();
  share(g.images, [&](int thread, int64_t begin, int64_t end) {
    Planes<SIDE> planes(g);
    auto worker = finish.worker(thread);
    for (int64_t n = begin; n < end; ++n) {
      for (int64_t h = 0; h < g.height; ++h)
        for (int64_t w = 0; w < g.width; ++w)
          each_vector(channels, [&](int64_t c, auto count) {
            planes.at(c, h, w) = source(g.in_row(n, h, w), c, count);
          });
      each_band(g.out_height, g.out_width * channels, [&](int64_t first, int64_t last) {
        each_vector(channels, [&](int64_t c, auto count) {
          Floats filter[TAPS];
          for (int64_t tap = 0; tap < TAPS; ++tap) filter[tap] = load<Floats>(filters + tap * channels + c, count);
          for (int64_t h = first; h < last; ++h)
            for (int64_t w = 0; w < g.out_width; ++w) {
              const Floats* corner = planes.corner(c, h * g.stride, w * g.stride);
              Floats sum{};
#pragma GCC unroll 25
              for (int64_t tap = 0; tap < TAPS; ++tap) sum += filter[tap] * corner[planes.tap(tap)];
              const int64_t row = g.out_row(n, h, w);
              store(to + row * channels + c, worker(sum, row, c, count), count);
            }
        });
      });
      worker.end_block();
    }
    finish.done(thread, worker);
  });
  return y;
}

// Calls work with the side of a filter of so many taps as a constant.
template <class Work>
auto with_side(int64_t taps, Work work) {
  if (taps == 9) return work(std::integral_constant<int64_t, 3>{});
  TORCH_CHECK(taps == 25, "no kernel for ", taps, " taps");
  return work(std::integral_constant<int64_t, 5>{});
}

// source (N, H, W, C), weight (taps, C) -> y (N, H', W', C)
template <class Source, class Finish>
Tensor depthwise(const Source& source, const Tensor& weight, const Geometry& g, Finish& finish) {
  return with_side(weight.size(0), [&](auto side) { return depthwise_of_side<side>(source, weight, g, finish); });
}

// What watches a depthwise convolution's input gradient: nothing. A column is what a few channels keep in registers.
struct NothingSeen {
  struct Column {
    template <class Count>
    void add(Floats, int64_t, int64_t, Count) {}
  };
  Column column() const { return {}; }
  template <class Count>
  void end_column(const Column&, int64_t, Count) {}
  void end_block() {}
  NothingSeen worker(int) const { return {}; }
};

// What a band of an image adds to the gradients of LANES channels from c on, g_y being the raw output's gradient, spread
// out to the input's pixels (zeros between, for a stride of 2): both are sums over the same neighbours of a pixel.
template <int64_t SIDE, bool FOR_INPUT, bool FOR_WEIGHT, class Source, class Count>
void depthwise_band(const Planes<SIDE>& g_y, const Source& source, const float* filters, const Geometry& g, int64_t n,
                    int64_t first, int64_t last, int64_t c, Count count, float* of_x, float* of_weight) {
  constexpr int64_t TAPS = SIDE * SIDE;
  Floats filter[TAPS], sums[TAPS] = {};  // of the tap that reaches the neighbour: the last for the first
  for (int64_t tap = 0; tap < TAPS && FOR_INPUT; ++tap)
    filter[tap] = load<Floats>(filters + (TAPS - 1 - tap) * g.channels + c, count);
  for (int64_t h = first; h < last; ++h)
    for (int64_t w = 0; w < g.width; ++w) {
      const Floats* corner = g_y.corner(c, h, w);
      const int64_t row = g.in_row(n, h, w);
      Floats sum{}, value{};
      if (FOR_WEIGHT) value = source(row, c, count);
#pragma GCC unroll 25
      for (int64_t tap = 0; tap < TAPS; ++tap) {
        const Floats neighbour = corner[g_y.tap(tap)];
        if (FOR_INPUT) sum += filter[tap] * neighbour;
        if (FOR_WEIGHT) sums[tap] += value * neighbour;
      }
      if (FOR_INPUT) store(of_x + row * g.channels + c, sum, count);
    }
  for (int64_t tap = 0; tap < TAPS && FOR_WEIGHT; ++tap)
    add_to(of_weight + (TAPS - 1 - tap) * g.channels + c, sums[tap], count);
}

// Gradients of input (N, H, W, C), of weight (SIDE * SIDE, C), of what is added to every pixel (C).
// `seen` watches the input's gradient.
template <int64_t SIDE, bool FOR_INPUT, bool FOR_WEIGHT, class Gradient, class Source, class Seen>
std::tuple<Tensor, Tensor, Tensor> depthwise_gradients_of_side(
    Gradient gradient, const Source& source, const Tensor& weight, const Geometry& g, bool for_bias, Seen& seen) {
  const int64_t channels = g.channels;
  Tensor of_x = FOR_INPUT ? empty_behind(source.tensor, {g.images, g.height, g.width, channels}) : at::empty({0});
  ColumnSums of_weight(weight.numel()), of_bias(channels);
  const float* filters = weight.data_ptr<float>();
  float* to = FOR_INPUT ? of_x.data_ptr<float>() : nullptr;
  share(g.images, [&](int thread, int64_t begin, int64_t end) {
    Planes<SIDE> planes(g);
    ColumnSums::Part weight_sums = of_weight.part(thread), bias_sums = of_bias.part(thread);
    auto input_seen = seen.worker(thread);
    for (int64_t n = begin; n < end; ++n) {
      for (int64_t h = 0; h < g.out_height; ++h)
        for (int64_t w = 0; w < g.out_width; ++w)
          each_vector(channels, [&](int64_t c, auto count) {
            const Floats value = gradient(g.out_row(n, h, w), c, count);
            planes.at(c, h * g.stride, w * g.stride) = value;
            if (for_bias) add_to(bias_sums.block + c, value, count);
          });
      each_band(g.height, g.width * channels, [&](int64_t first, int64_t last) {
        each_vector(channels, [&](int64_t c, auto count) {
          const auto visit = [&](auto for_input, auto for_weight) {
            depthwise_band<SIDE, for_input, for_weight>(planes, source, filters, g, n, first, last, c, count, to,
                                                        weight_sums.block);
          };
          if constexpr (SIDE == 3) {
            visit(std::bool_constant<FOR_INPUT>{}, std::bool_constant<FOR_WEIGHT>{});
          } else {  // one after the other: there are not registers enough for both
            if (FOR_INPUT) visit(std::true_type{}, std::false_type{});
            if (FOR_WEIGHT) visit(std::false_type{}, std::true_type{});
          }
          if (!FOR_INPUT) return;
          auto column = input_seen.column();  // in a loop of its own: the one above needs all registers
          for (int64_t h = first; h < last; ++h)
            for (int64_t w = 0; w < g.width; ++w) {
              const int64_t row = g.in_row(n, h, w);
              column.add(load<Floats>(to + row * channels + c, count), row, c, count);
            }
          input_seen.end_column(column, c, count);
        });
      });
      weight_sums.end_block();
      bias_sums.end_block();
      input_seen.end_block();
    }
  });
  return {of_x, of_weight.sum().view(weight.sizes()), of_bias.sum()};
}

template <bool FOR_INPUT, bool FOR_WEIGHT, class Gradient, class Source, class Seen>
std::tuple<Tensor, Tensor, Tensor> depthwise_gradients(const Gradient& gradient, const Source& source,
                                                       const Tensor& weight, const Geometry& g, bool for_bias,
                                                       Seen& seen) {
  return with_side(weight.size(0), [&](auto side) {
    return depthwise_gradients_of_side<side, FOR_INPUT, FOR_WEIGHT>(gradient, source, weight, g, for_bias, seen);
  });
}

template <class Gradient, class Source>
std::tuple<Tensor, Tensor, Tensor> depthwise_gradients(const Gradient& gradient, const Source& source,
                                                       const Tensor& weight, const Geometry& g, Asked asked) {
  NothingSeen seen;
  const auto compute = [&](auto for_input, auto for_weight) {
    return depthwise_gradients<for_input, for_weight>(gradient, source, weight, g, asked.bias, seen);
  };
  const std::true_type yes;
  const std::false_type no;
  if (asked.input) return asked.weight ? compute(yes, yes) : compute(yes, no);
  return asked.weight ? compute(no, yes) : compute(no, no);
}

// -------------------------------------------------------------------------------------- done elsewhere, row by row
template <class Work>
void each_block(int64_t rows, int64_t channels, Work work) {
  const int64_t step = block_rows(2 * channels);
  share((rows + step - 1) / step, [&](int thread, int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block)
      work(thread, block * step, std::min(step, rows - block * step));
  });
}

// Finishes raw (M, C) to y, which may be the same.
template <class Finish>
void finish_all(const Tensor& raw, const Tensor& y, Finish& finish) {
  const int64_t rows = raw.size(0), channels = raw.size(1), step = block_rows(2 * channels);
  const float* from = raw.data_ptr<float>();
  float* to = y.data_ptr<float>();
  share((rows + step - 1) / step, [&](int thread, int64_t begin, int64_t end) {
    auto worker = finish.worker(thread);
    for (int64_t first = begin * step; first < std::min(end * step, rows); first += step)
      finish_rows(worker, from, to, first, std::min(step, rows - first), channels);
    finish.done(thread, worker);
  });
}

// The raw output's gradient (M, C), and its sum over rows (C), 0 if not asked for.
template <class Gradient>
std::tuple<Tensor, Tensor> raw_gradient(const Gradient& gradient, int64_t rows, int64_t channels, bool for_bias) {
  Tensor result = at::empty({rows, channels}, at::kFloat);
  float* values = result.data_ptr<float>();
  ColumnSums sums(channels);
  each_block(rows, channels, [&](int thread, int64_t first, int64_t count) {
    gradient_rows(gradient, sums.part(thread), for_bias, values + first * channels, first, count, channels);
  });
  return {result, sums.sum()};
}

// ------------------------------------------------------------------------------------------------------ layers
// As torch has their weights: pointwise (O, I, 1, 1) or (O, I), depthwise (C, 1, side, side). x and y are (N, H, W, C).

Tensor as_rows(const Tensor& x) { return x.view({-1, x.size(-1)}); }
Tensor as_taps(const Tensor& weight) { return weight.flatten(1).t().contiguous(); }
Tensor from_taps(const Tensor& taps, const Tensor& weight) { return taps.to(at::kFloat).t().reshape(weight.sizes()); }
bool is_pointwise(const Tensor& weight) { return weight.dim() == 2 || weight.size(2) == 1; }

Tensor like_rows(const Tensor& rows, const Tensor& x) {
  return rows.view({x.size(0), x.size(1), x.size(2), rows.size(1)});
}

int64_t output_rows(const Tensor& x, int64_t stride) {
  return x.size(0) * ((x.size(1) - 1) / stride + 1) * ((x.size(2) - 1) / stride + 1);
}

template <class Finish>
Tensor layer(const Tensor& x, const Tensor& weight, int64_t stride, Finish& finish) {
  if (!is_pointwise(weight)) return depthwise(Stored(x), as_taps(weight), Geometry(x, stride), finish);
  return like_rows(pointwise(as_rows(x), weight.flatten(1), finish), x);
}

using Gradients = std::tuple<Tensor, Tensor, Tensor>;  // of input, weight, bias; see `Asked`

// The input's values are only needed for the weight's gradient: without, x may be empty.
template <class Gradient>
Gradients layer_gradients(const Gradient& gradient, const Tensor& like_y, const Tensor& x, const Tensor& weight,
                          const Geometry& g, Asked asked) {
  if (is_pointwise(weight)) {
    const Tensor rows = asked.weight ? as_rows(x) : x;
    auto [of_x, of_weight, of_bias] =
        pointwise_gradients(gradient, rows, weight.flatten(1), asked, as_rows(like_y).size(0));
    if (asked.input) of_x = like_rows(of_x, like_y);
    if (asked.weight) of_weight = of_weight.view(weight.sizes());
    return {of_x, of_weight, of_bias};
  }
  auto [of_x, of_taps, of_bias] = depthwise_gradients(gradient, Stored(x), as_taps(weight), g, asked);
  return {of_x, from_taps(of_taps, weight), of_bias};
}

}  // namespace

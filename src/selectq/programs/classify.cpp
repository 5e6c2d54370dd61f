#include <onnxruntime_cxx_api.h>
#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <vector>

int main() {
  Ort::Env env;
  Ort::SessionOptions options;
  options.AddConfigEntry($exact);  // CPUs without VNNI would saturate
  Ort::Session session(env, ORT_TSTR("$name"), options);
  // magick image.png -resize ${size}x${size}^ -gravity center -extent ${size}x${size} -depth 8 image.rgb
  std::vector<uint8_t> rgb(3 * $area);
  std::ifstream("image.rgb", std::ios::binary).read(reinterpret_cast<char*>(rgb.data()), rgb.size());
  const float mean[] = {$mean};
  const float deviation[] = {$std};
  std::vector<$type> input(rgb.size());
  for (int i = 0; i < $area; ++i)
    for (int c = 0; c < 3; ++c) input[$place] = $value;
  const int64_t shape[] = {1, $shape};
  auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  auto images = Ort::Value::CreateTensor<$type>(memory, input.data(), input.size(), shape, 4);
  const char *inputs[] = {"$input"}, *outputs[] = {"$output"};
  auto found = session.Run(Ort::RunOptions{nullptr}, inputs, &images, 1, outputs, 1);
  const float* logits = found[0].GetTensorData<float>();
  std::cout << std::max_element(logits, logits + $classes) - logits << std::endl;
}

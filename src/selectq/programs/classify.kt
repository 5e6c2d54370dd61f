import ai.onnxruntime.*
import android.graphics.Bitmap
import android.media.ThumbnailUtils
import java.nio.ByteBuffer
import java.nio.ByteOrder

fun classify(model: ByteArray, image: Bitmap): Int {
    val env = OrtEnvironment.getEnvironment()
    val options = OrtSession.SessionOptions().apply { addConfigEntry($exact) }
    val colors = IntArray($area)
    val square = ThumbnailUtils.extractThumbnail(image, $size, $size)
    square.getPixels(colors, 0, $size, 0, 0, $size, $size)
    val mean = floatArrayOf($mean_f)
    val deviation = floatArrayOf($std_f)
    val input = ByteBuffer.allocateDirect(3 * $area * $bytes).order(ByteOrder.nativeOrder())
    $loops input.$put
    input.rewind()
    val shape = longArrayOf(1, $shape)
    env.createSession(model, options).use { session ->
        OnnxTensor.createTensor(env, $tensor).use { images ->
            session.run(mapOf("$input" to images)).use { found ->
                val logits = (found[0].value as Array<*>)[0] as FloatArray
                return logits.indices.maxByOrNull { logits[it] }!!
            }
        }
    }
}

"""ReLU in place of ReLU6: it changes what the network computes, and lets equalization scale the channels behind it.

ReLU(s x) = s ReLU(x) for s > 0; the bound of ReLU6 does not scale along. AIMET and Brevitas do the same before
cross-layer equalization (Nagel et al. 2019, section 5.1.1: of MobileNetV2 hardly anything is lost).
"""

from selectq.config.algorithms import RELU6_AS_RELU
from selectq.errors import UserError
from selectq.graph.bounds import RELU6
from selectq.graph.capture import capture
from selectq.networks.build import replace_relu6
from selectq.ptq.registry import PtqState, When, register


class Relu6AsRelu:
    """Puts a ReLU in the place of every ReLU6, in the FP32 network that quantized layers are compared with."""

    name = RELU6_AS_RELU
    when: When = "fp32"

    def apply(self, state: PtqState) -> None:
        """Replace them in the model, and in its graph."""
        replace_relu6(state.model)
        state.graph = capture(state.model)
        for node in state.graph.nodes:
            if node.bounds == RELU6:
                raise UserError(f"algorithms: {self.name} replaces nn.ReLU6; {node.name} is bounded by a function")


register(Relu6AsRelu())

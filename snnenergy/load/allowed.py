"""The globals a pickled model may name, one by one; what is not here is refused.

Three tables, because a name is used in one of three ways: CALLED (REDUCE: only what rebuilds tensors), BUILT (a class made
empty by NEWOBJ, its state filled in; never called, so no constructor runs with the file's arguments), STORED (kept as it is).
Nothing here reaches getattr, eval, import, files or processes.  A row is `module: names`.
"""

from __future__ import annotations

from enum import StrEnum

from snnenergy.load.pickles import Global

_CALLED = """
collections: OrderedDict
builtins: set frozenset
__builtin__: set frozenset
torch: Size device
torch._utils: _rebuild_tensor _rebuild_tensor_v2 _rebuild_parameter _rebuild_parameter_with_state
"""

_STORED = """
torch: float64 float32 float16 bfloat16 complex64 complex128 int64 int32 int16 int8 uint8 bool
torch: FloatStorage DoubleStorage HalfStorage BFloat16Storage LongStorage IntStorage ShortStorage CharStorage
torch: ByteStorage BoolStorage ComplexFloatStorage ComplexDoubleStorage
torch.storage: UntypedStorage
torch.nn.functional: relu gelu silu tanh sigmoid
torch._C._nn: gelu
sinabs.activation.spike_generation: MultiSpike SingleSpike
norse.torch.functional.encode: gaussian_rbf euclidean_distance
norse.torch.functional.regularization: spike_accumulator
"""

_BUILT = """
torch.nn.modules.activation: CELU ELU GELU GLU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid LogSoftmax
torch.nn.modules.activation: Mish MultiheadAttention PReLU RReLU ReLU ReLU6 SELU SiLU Sigmoid Softmax Softmax2d Softmin
torch.nn.modules.activation: Softplus Softshrink Softsign Tanh Tanhshrink Threshold
torch.nn.modules.batchnorm: BatchNorm1d BatchNorm2d BatchNorm3d
torch.nn.modules.channelshuffle: ChannelShuffle
torch.nn.modules.container: ModuleDict ModuleList ParameterDict ParameterList Sequential
torch.nn.modules.conv: Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d
torch.nn.modules.dropout: AlphaDropout Dropout Dropout1d Dropout2d Dropout3d FeatureAlphaDropout
torch.nn.modules.flatten: Flatten Unflatten
torch.nn.modules.fold: Fold Unfold
torch.nn.modules.instancenorm: InstanceNorm1d InstanceNorm2d InstanceNorm3d
torch.nn.modules.linear: Bilinear Identity Linear NonDynamicallyQuantizableLinear
torch.nn.modules.normalization: GroupNorm LayerNorm LocalResponseNorm RMSNorm
torch.nn.modules.padding: CircularPad1d CircularPad2d CircularPad3d ConstantPad1d ConstantPad2d ConstantPad3d
torch.nn.modules.padding: ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d
torch.nn.modules.padding: ReplicationPad3d ZeroPad1d ZeroPad2d ZeroPad3d
torch.nn.modules.pixelshuffle: PixelShuffle PixelUnshuffle
torch.nn.modules.pooling: AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d
torch.nn.modules.pooling: AdaptiveMaxPool3d AvgPool1d AvgPool2d AvgPool3d LPPool1d LPPool2d LPPool3d MaxPool1d MaxPool2d
torch.nn.modules.pooling: MaxPool3d
torch.nn.modules.rnn: GRU GRUCell LSTM LSTMCell RNN RNNCell
torch.nn.modules.sparse: Embedding EmbeddingBag
torch.nn.modules.transformer: Transformer TransformerDecoder TransformerDecoderLayer TransformerEncoder
torch.nn.modules.transformer: TransformerEncoderLayer
torch.nn.modules.upsampling: Upsample UpsamplingBilinear2d UpsamplingNearest2d
spikingjelly.activation_based.neuron.adapt: IzhikevichNode
spikingjelly.activation_based.neuron.ilif: ILIFNode
spikingjelly.activation_based.neuron.integrate_and_fire: IFNode SimpleIFNode NonSpikingIFNode
spikingjelly.activation_based.neuron.lif: LIFNode SimpleLIFNode NonSpikingLIFNode
spikingjelly.activation_based.neuron.lif_variants: GatedLIFNode KLIFNode CUBALIFNode LIAFNode
spikingjelly.activation_based.neuron.nonlinear_if: EIFNode QIFNode
spikingjelly.activation_based.neuron.plif: ParametricLIFNode
spikingjelly.activation_based.neuron.psn: PSN MaskedPSN SlidingPSN
spikingjelly.activation_based.neuron.ternary: TernaryIFNode TernaryLIFNode
spikingjelly.activation_based.neuron: IzhikevichNode IFNode LIFNode KLIFNode EIFNode QIFNode ParametricLIFNode PSN
spikingjelly.activation_based.layer.bn: BatchNorm1d BatchNorm2d BatchNorm3d ThresholdDependentBatchNorm1d
spikingjelly.activation_based.layer.bn: ThresholdDependentBatchNorm2d TemporalEffectiveBatchNorm1d
spikingjelly.activation_based.layer.bn: TemporalEffectiveBatchNorm2d
spikingjelly.activation_based.layer.container: MultiStepContainer SeqToANNContainer StepModeContainer
spikingjelly.activation_based.layer.dropout: Dropout Dropout2d
spikingjelly.activation_based.layer.misc: SynapseFilter VotingLayer
spikingjelly.activation_based.layer.stateless_wrapper: Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d Upsample
spikingjelly.activation_based.layer.stateless_wrapper: GroupNorm MaxPool1d MaxPool2d AvgPool1d AvgPool2d Linear Flatten
spikingjelly.activation_based.layer.stateless_wrapper: AdaptiveAvgPool1d AdaptiveAvgPool2d
spikingjelly.activation_based.layer: BatchNorm1d BatchNorm2d Conv1d Conv2d Linear Flatten MaxPool1d MaxPool2d AvgPool1d
spikingjelly.activation_based.layer: AvgPool2d AdaptiveAvgPool1d AdaptiveAvgPool2d GroupNorm Dropout Dropout2d
spikingjelly.activation_based.layer: MultiStepContainer SeqToANNContainer VotingLayer
spikingjelly.activation_based.surrogate: ATan Erf LeakyKReLU LogTailedReLU MultiLevelSpikeCount NonzeroSignLogAbs
spikingjelly.activation_based.surrogate: PiecewiseExp PiecewiseLeakyReLU PiecewiseQuadratic QPseudoSpike Rect S2NN
spikingjelly.activation_based.surrogate: Sigmoid SoftSign SquarewaveFourierSeries SuperSpike
sinabs.layers.alif: ALIF ALIFRecurrent ALIFSqueeze
sinabs.layers.exp_leak: ExpLeak ExpLeakSqueeze
sinabs.layers.iaf: IAF IAFRecurrent IAFSqueeze
sinabs.layers.lif: LIF LIFRecurrent LIFSqueeze
sinabs.layers.merge: Merge
sinabs.layers.neuromorphic_relu: NeuromorphicReLU
sinabs.layers.pool2d: SpikingMaxPooling2dLayer SumPool2d
sinabs.layers.reshape: FlattenTime Repeat UnflattenTime
sinabs.activation.reset_mechanism: MembraneReset MembraneSubtract
sinabs.activation.surrogate_gradient_fn: Gaussian Heaviside MultiGaussian PeriodicExponential SingleExponential
norse.torch.functional.coba_lif: CobaLIFParameters
norse.torch.functional.leaky_integrator: LIParameters
norse.torch.module.coba_lif: CobaLIFCell
norse.torch.module.conv: LConv2d
norse.torch.module.encode: PoissonEncoder PoissonEncoderStep PopulationEncoder SignedPoissonEncoder
norse.torch.module.encode: SignedPoissonEncoderStep SpikeLatencyEncoder
norse.torch.module.exp_filter: ExpFilter
norse.torch.module.leaky_integrator: LILinearCell
norse.torch.module.lift: Lift
norse.torch.module.receptive_field: SampledSpatialReceptiveField2d SpatialReceptiveField2d
norse.torch.module.regularization: RegularizationCell
norse.torch.module.sequential: RecurrentSequential SequentialState
bindsnet.network.network: Network
bindsnet.network.nodes: AdaptiveLIFNodes BoostedLIFNodes CSRMNodes CurrentLIFNodes DiehlAndCookNodes IFNodes Input
bindsnet.network.nodes: IzhikevichNodes LIFNodes McCullochPitts SRM0Nodes
bindsnet.network.topology: MeanFieldConnection MulticompartmentConnection
bindsnet.network.topology_features: Bias Degradation Intensity Mask Probability Weight
bindsnet.conversion.conversion: Permute
bindsnet.conversion.nodes: PassThroughNodes SubtractiveResetIFNodes
bindsnet.learning.learning: NoOp
bindsnet.learning.MCC_learning: NoOp
"""

_DANGEROUS = frozenset(
    "_io _pickle _posixsubprocess _winapi asyncio bdb builtins __builtin__ cloudpickle cffi code codeop commands ctypes "
    "dill distutils fileinput ftplib functools gc glob http httplib idlelib imp importlib inspect io itertools joblib "
    "linecache marshal mmap multiprocessing nt ntpath numba operator os pathlib pdb pickle pickletools pip pkgutil platform "
    "posix posixpath profile pstats pty pydoc requests runpy setuptools shelve shutil signal site smtplib socket ssl "
    "subprocess sys sysconfig tempfile test threading timeit trace traceback turtle types urllib urllib2 venv "
    "webbrowser winreg xmlrpc zipfile zipimport".split()
)
"""Modules whose names reach code, files, processes or the network; used to say so, never to decide: the tables decide."""
_DANGEROUS_TORCH = (
    "torch.hub torch.jit torch.load torch.serialization torch.package torch.fx torch.utils torch.distributed torch.ops "
    "torch._dynamo torch._inductor torch.multiprocessing torch.storage._load_from_bytes torch.compile torch.classes"
).split()


class Verdict(StrEnum):
    """What is known of a global named in a pickle; a member equals its string."""

    ALLOWED = "allowed"
    UNKNOWN = "unknown"
    DANGEROUS = "dangerous"


def _rows(table: str) -> frozenset[str]:
    rows = (line.partition(": ") for line in table.strip().splitlines())
    return frozenset(f"{module}.{name}" for module, _, names in rows for name in names.split())


CALLED, STORED, BUILT = _rows(_CALLED), _rows(_STORED), _rows(_BUILT)


def dangerous(target: Global) -> bool:
    """Whether a global reaches code, files, processes or the network, as far as is known."""
    full = str(target)
    return full != "torch.serialization._get_layout" and (  # looks a word up in a table
        target.module.partition(".")[0] in _DANGEROUS
        or target.module == ""
        or any(full == name or full.startswith(name + ".") for name in _DANGEROUS_TORCH)
    )


def judge(target: Global, uses: set[str], extra: frozenset[str] = frozenset()) -> Verdict:
    """May a pickle use this global in these ways?  `extra`: classes the user named with --allow-class, free to be used."""
    full, uses = str(target), uses - {"value"}
    if full in extra:
        return Verdict.ALLOWED
    if (full in CALLED and uses <= {"call"}) or (full in BUILT and uses <= {"new"}) or (full in STORED and not uses):
        return Verdict.ALLOWED
    return Verdict.DANGEROUS if dangerous(target) else Verdict.UNKNOWN

"""The table: what each aten operator computes.  One row per operator; a row that is absent is an error, never a zero.

A row is one of
    CONTRACTION                    a sum of products: `contractions.py` reads its operands
    free("why")                    moves, creates or compares no numbers worth charging; the reason is part of the row
    each(adds=, muls=, ...)        elementwise: so many of each kind per output element
    over(adds=, muls=, ...)        a reduction or scan: so many of each kind per input element
    a function(args, out)          anything else with a closed formula
Specials are operations an adder or multiplier does not do: exp, log, tanh, sqrt, a division by a variable.
Names are aten packet names; an in-place `add_` and an `out=` overload share the row of `add`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Arithmetic(NamedTuple):
    """Elementwise operations of one call."""

    adds: int = 0
    muls: int = 0
    compares: int = 0
    specials: int = 0


NOTHING = Arithmetic()


@dataclass(frozen=True, slots=True)
class Free:
    """Free on purpose; `moves`: values pass through unchanged, so their origin does too."""

    why: str
    moves: bool = False
    kernel: bool = False


@dataclass(frozen=True, slots=True)
class Contraction:
    """A sum of products, read by `contractions.py`."""


CONTRACTION = Contraction()
Formula = Callable[[Sequence[Any], Any], Arithmetic]
Row = Free | Contraction | Formula


def _size(value: Any) -> int:
    """Elements of the first tensor of a result."""
    if isinstance(value, Tensor):
        return value.numel()
    if isinstance(value, tuple | list):
        return next((_size(v) for v in value if isinstance(v, Tensor | tuple | list) and _size(v)), 0)
    return 0


@dataclass(frozen=True, slots=True)
class Each:
    """Elementwise: so many operations of each kind per output element."""

    adds: int = 0
    muls: int = 0
    compares: int = 0
    specials: int = 0

    def __call__(self, args: Sequence[Any], out: Any) -> Arithmetic:
        n = _size(out)
        return Arithmetic(self.adds * n, self.muls * n, self.compares * n, self.specials * n)


each = Each


def over(
    adds: int = 0, muls: int = 0, compares: int = 0, specials: int = 0, per_output: Arithmetic = NOTHING
) -> Formula:
    def formula(args: Sequence[Any], out: Any) -> Arithmetic:
        n, m, each = _size(args), _size(out), per_output
        return Arithmetic(
            adds * n + each.adds * m,
            muls * n + each.muls * m,
            compares * n + each.compares * m,
            specials * n + each.specials * m,
        )

    return formula


SOFTMAX = Arithmetic(adds=2, muls=1, compares=1, specials=1)
"""Per element."""


def scored(n: int, mask: Tensor | None) -> Arithmetic:
    """What turns n products q k^T into weights: the scale, a mask that is added, a softmax."""
    added = mask is not None and mask.dtype != torch.bool
    return Arithmetic((SOFTMAX.adds + added) * n, (SOFTMAX.muls + 1) * n, SOFTMAX.compares * n, SOFTMAX.specials * n)


def _batch_norm(args: Sequence[Any], out: Any) -> Arithmetic:
    # running statistics fold into y = x scale + shift; batch statistics cost a mean and a variance more
    n = _size(args)
    training = bool(args[5]) if len(args) > 5 and isinstance(args[5], bool) else False
    return Arithmetic(adds=n * (4 if training else 1), muls=n * (2 if training else 1))


def _normalise(args: Sequence[Any], out: Any) -> Arithmetic:
    # mean (1 add), variance (2 adds, 1 mul), (x - mean) rstd (1 mul), weight and bias (1 mul, 1 add)
    n = _size(args)
    groups = _size(out[-1:]) if isinstance(out, tuple) else 1
    return Arithmetic(adds=4 * n, muls=3 * n, specials=groups)


def _root_mean_square(args: Sequence[Any], out: Any) -> Arithmetic:
    # square (1 mul), sum (1 add), x times the root's inverse times the weight (2 muls); a root per normalised group
    n, width = _size(args), math.prod(args[1]) if len(args) > 1 and isinstance(args[1], list | tuple) else 1
    return Arithmetic(adds=n, muls=3 * n, specials=n // max(1, width))


def _window(args: Sequence[Any], kernel_at: int) -> int:
    """Taps of a pooling window whose size is argument `kernel_at`."""
    kernel = list(args[kernel_at])
    spatial = args[0].dim() - (2 if args[0].dim() > len(kernel) + 1 else 1)
    return math.prod(kernel * spatial if len(kernel) == 1 else kernel)


def _avg_pool(args: Sequence[Any], out: Any) -> Arithmetic:
    k, n = _window(args, 1), _size(out)
    return Arithmetic(adds=(k - 1) * n, muls=n)


def _max_pool(args: Sequence[Any], out: Any) -> Arithmetic:
    return Arithmetic(compares=(_window(args, 1) - 1) * _size(out))


def _adaptive_avg(args: Sequence[Any], out: Any) -> Arithmetic:
    n, m = _size(args), _size(out)
    return Arithmetic(adds=max(0, n - m), muls=m)


def _adaptive_max(args: Sequence[Any], out: Any) -> Arithmetic:
    return Arithmetic(compares=max(0, _size(args) - _size(out)))


def _power(args: Sequence[Any], out: Any) -> Arithmetic:
    exponent = args[1] if len(args) > 1 else None
    if isinstance(exponent, int | float) and float(exponent).is_integer() and 1 <= exponent <= 4:
        return Arithmetic(muls=(int(exponent) - 1) * _size(out))
    return Arithmetic(specials=_size(out))


def _divide(args: Sequence[Any], out: Any) -> Arithmetic:
    # by a constant: one multiplication with its reciprocal; by a tensor: a division
    by_tensor = len(args) > 1 and isinstance(args[1], Tensor) and args[1].numel() > 1
    n = _size(out)
    return Arithmetic(specials=n) if by_tensor else Arithmetic(muls=n)


def _sort(args: Sequence[Any], out: Any) -> Arithmetic:
    n = _size(args)
    return Arithmetic(compares=int(n * math.ceil(math.log2(max(2, args[0].shape[-1] if args[0].dim() else 1)))))


def _interpolate(corners: int) -> Formula:
    def formula(args: Sequence[Any], out: Any) -> Arithmetic:
        n = _size(out)
        return Arithmetic(adds=(corners - 1) * n, muls=corners * n)

    return formula


def _embedding_bag(args: Sequence[Any], out: Any) -> Arithmetic:
    met = args[1].numel() * args[0].shape[1]
    weighted = len(args) > 6 and args[6] is not None  # per_sample_weights
    return Arithmetic(adds=max(0, met - _size(out)), muls=met if weighted else 0)


def _fold(args: Sequence[Any], out: Any) -> Arithmetic:
    # sliding blocks are summed where they overlap: every entry but the first of each output is added
    return Arithmetic(adds=max(0, _size(args) - _size(out)))


def _distance(args: Sequence[Any], out: Any) -> Arithmetic:
    # every pair: subtract, multiply (or absolute), add over k features; then a root
    k, n = args[0].shape[-1], _size(out)
    return Arithmetic(adds=(2 * k - 1) * n, muls=k * n, specials=n)


def _fft(args: Sequence[Any], out: Any) -> Arithmetic:
    # split radix, about 4 N log2 N real operations for N complex points; a third of them products (Johnson & Frigo 2007)
    n = _size(args)
    operations = int(4 * n * math.log2(max(2, n)))
    return Arithmetic(adds=operations * 2 // 3, muls=operations - operations * 2 // 3)


def _batch_norm_backward(args: Sequence[Any], out: Any) -> Arithmetic:
    # g' of scale and shift: xhat again (1 add, 1 mul), sums of g and g xhat (2 adds, 1 mul); of x by running statistics one
    # product, by batch statistics (g - mean g - xhat mean(g xhat)) scale (2 adds, 2 muls)
    n = _size(args)
    training = bool(args[7]) if len(args) > 7 and isinstance(args[7], bool) else True
    return Arithmetic(adds=n * (5 if training else 3), muls=n * (4 if training else 3))


def _avg_pool_backward(args: Sequence[Any], out: Any) -> Arithmetic:
    # every gradient, divided by the window, is added at each place of its window
    k, n = _window(args, 2), _size(args)
    return Arithmetic(adds=k * n, muls=n)


def _adaptive_avg_backward(args: Sequence[Any], out: Any) -> Arithmetic:
    return Arithmetic(adds=max(_size(args), _size(out)), muls=_size(args))


def _target_backward(args: Sequence[Any], out: Any) -> Arithmetic:
    # one product per target: the gradient of everything else is zero
    return Arithmetic(muls=args[2].numel())


def _glu_backward(args: Sequence[Any], out: Any) -> Arithmetic:
    # of a s(b): g s, and g a s (1 - s)
    n = _size(args)
    return Arithmetic(adds=n, muls=4 * n, specials=n)


VIEW = Free("another view of the same storage", moves=True)
MOVE = Free("moves values, changes none", moves=True)
COPY = Free("copies values, changes none", moves=True, kernel=True)
MAKE = Free("creates a tensor from nothing", kernel=True)
PLACE = Free("places values among zeros", kernel=True)
RANDOM = Free("draws random numbers; a chip's generator is not priced", kernel=True)
LOGIC = Free("boolean logic on spikes or masks", kernel=True)
ASK = Free("asks about a tensor")
TABLE = Free("reads rows of a table: memory, no arithmetic", kernel=True)
GRADIENT = Free("book-keeping of autograd")

_GROUPS: dict[str, Row] = {
    """mm addmm bmm baddbmm addbmm mv addmv dot vdot convolution _convolution convolution_overrideable _trilinear
    _scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention _scaled_dot_product_efficient_attention
    _scaled_dot_product_cudnn_attention _scaled_dot_product_fused_attention_overrideable _scaled_dot_product_attention_math_for_mps
    mkldnn_rnn_layer _cudnn_rnn _native_multi_head_attention _transformer_encoder_layer_fwd
    mkldnn_convolution mkldnn_linear _conv_depthwise2d conv_depthwise3d thnn_conv2d _slow_conv2d_forward slow_conv3d
    slow_conv_transpose2d slow_conv_transpose3d slow_conv_dilated2d slow_conv_dilated3d cudnn_convolution
    cudnn_convolution_transpose miopen_convolution _addmm_activation convolution_backward mkldnn_rnn_layer_backward
    _cudnn_rnn_backward _scaled_dot_product_flash_attention_for_cpu_backward _scaled_dot_product_flash_attention_backward
    _scaled_dot_product_efficient_attention_backward _scaled_dot_product_cudnn_attention_backward""": CONTRACTION,
    "view t transpose permute expand slice select unsqueeze squeeze detach alias split split_with_sizes unbind": VIEW,
    """_unsafe_view reshape _reshape_alias as_strided chunk flatten unfold expand_as narrow diagonal movedim swapaxes adjoint numpy_T
    unsafe_split unsafe_chunk unsafe_split_with_sizes view_as_real view_as_complex lift lift_fresh _conj _neg_view real imag
    mT mH view_as squeeze_ tensor_split values indices _values _indices""": MOVE,
    """clone copy _to_copy contiguous cat stack repeat repeat_interleave flip roll index index_select gather index_put
    _index_put_impl scatter select_scatter slice_scatter diagonal_scatter constant_pad_nd reflection_pad1d reflection_pad2d
    reflection_pad3d replication_pad1d replication_pad2d replication_pad3d pixel_shuffle pixel_unshuffle masked_select take
    take_along_dim im2col upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d
    _upsample_nearest_exact2d _upsample_nearest_exact3d max_unpool2d max_unpool3d narrow_copy tril triu channel_shuffle
    _nested_tensor_from_mask _nested_from_padded to_padded_tensor lift_fresh_copy masked_fill masked_scatter where index_fill
    index_copy _reshape_copy resolve_conj resolve_neg rot90 tile _fw_primal set_ _to_dense to_dense _pack_padded_sequence
    _nested_view_from_buffer _nested_view_from_jagged resize resize_as to view_copy permute_copy expand_copy native_channel_shuffle""": COPY,
    """empty empty_like zeros zeros_like ones ones_like full full_like new_zeros new_ones new_empty new_full arange
    scalar_tensor fill zero linspace logspace eye empty_strided new_empty_strided empty_permuted tril_indices triu_indices
    _efficientzerotensor hann_window""": MAKE,
    "select_backward slice_backward diagonal_backward one_hot fill_diagonal": PLACE,
    """bernoulli rand randn rand_like randn_like randint randint_like randperm normal uniform exponential poisson multinomial
    native_dropout random log_normal cauchy geometric feature_dropout dropout alpha_dropout
    """: RANDOM,
    """logical_and logical_or logical_not logical_xor bitwise_and bitwise_or bitwise_not bitwise_xor __and__ __or__ __xor__
    __rshift__ __lshift__ bitwise_right_shift bitwise_left_shift any all""": LOGIC,
    """_local_scalar_dense item is_nonzero equal result_type is_same_size sym_size sym_numel sym_stride sym_storage_offset size
    is_contiguous dense_dim sparse_dim _has_compatible_shallow_copy_type _nested_tensor_size is_pinned can_cast
    _assert_async _linalg_check_errors _nested_tensor_from_mask_left_aligned _assert_tensor_metadata _assert_scalar sym_constrain_range sym_constrain_range_for_size nonzero
    count_nonzero is_coalesced is_complex is_floating_point""": ASK,
    "embedding": TABLE,
    "requires_grad_ _version retain_grad _backward": GRADIENT,
    "add sub rsub": each(adds=1),
    "mul square": each(muls=1),
    "div true_divide divide": _divide,
    "neg abs sign sgn relu trunc positive": each(compares=1),
    "eq ne gt ge lt le maximum minimum clamp_min clamp_max isnan isinf isfinite signbit fmax fmin threshold heaviside": each(
        compares=1
    ),
    "clamp hardtanh relu6 isneginf isposinf isin": each(compares=2),
    "floor ceil round frac": each(compares=1),
    "remainder fmod floor_divide reciprocal": each(specials=1),
    """exp exp2 expm1 log log2 log10 log1p sqrt rsqrt sin cos tan asin acos atan atan2 sinh cosh tanh sigmoid erf erfc erfinv
    lgamma digamma polygamma logit xlogy hypot logaddexp logaddexp2 asinh acosh atanh nan_to_num copysign sinc
    special_erfcx special_ndtri i0 special_i1""": each(specials=1),
    "pow": _power,
    "gelu": each(adds=1, muls=2, specials=1),
    "silu log_sigmoid log_sigmoid_forward mish softplus": each(adds=1, muls=1, specials=1),
    "hardsigmoid hardswish": each(adds=1, muls=1, compares=2),
    "elu selu celu": each(adds=1, muls=1, compares=1, specials=1),
    "leaky_relu _prelu_kernel prelu hardshrink rrelu_with_noise": each(muls=1, compares=1),
    "softshrink": each(adds=1, compares=2),
    "glu": each(muls=1, specials=1),
    "lerp": each(adds=2, muls=1),
    "addcmul": each(adds=1, muls=2),
    "addcdiv": each(adds=1, muls=1, specials=1),
    "ger outer": each(muls=1),
    "addr": each(adds=1, muls=1),
    "sum nansum cumsum index_add scatter_add segment_reduce": over(adds=1),
    "logcumsumexp": over(adds=1, specials=2),
    "prod cumprod": over(muls=1),
    "mean": over(adds=1, per_output=Arithmetic(muls=1)),
    "max min amax amin argmax argmin aminmax cummax cummin scatter_reduce index_reduce median nanmedian mode bucketize "
    "searchsorted": over(compares=1),
    "std var var_mean std_mean": over(adds=3, muls=1, per_output=Arithmetic(specials=1)),
    "norm linalg_vector_norm": over(adds=1, muls=1, per_output=Arithmetic(specials=1)),
    "logsumexp": over(adds=2, compares=1, specials=1, per_output=Arithmetic(specials=1)),
    "_softmax softmax _safe_softmax _masked_softmax": over(*SOFTMAX),
    "_log_softmax log_softmax": over(adds=3, compares=1, specials=1),
    "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm batch_norm _batch_norm_with_update "
    "_batch_norm_no_update miopen_batch_norm _batch_norm_impl_index": _batch_norm,
    "native_layer_norm native_group_norm layer_norm group_norm instance_norm": _normalise,
    "rms_norm _fused_rms_norm": _root_mean_square,
    "renorm _weight_norm _weight_norm_interface": over(adds=1, muls=2),
    "avg_pool1d avg_pool2d avg_pool3d": _avg_pool,
    "_adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d": _adaptive_avg,
    "max_pool1d max_pool2d max_pool3d max_pool2d_with_indices max_pool3d_with_indices max_pool1d_with_indices mkldnn_max_pool2d": _max_pool,
    "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d fractional_max_pool2d fractional_max_pool3d": _adaptive_max,
    "upsample_linear1d": _interpolate(2),
    "upsample_bilinear2d _upsample_bilinear2d_aa grid_sampler_2d": _interpolate(4),
    "upsample_trilinear3d grid_sampler_3d": _interpolate(8),
    "upsample_bicubic2d _upsample_bicubic2d_aa": _interpolate(16),
    "sort topk kthvalue unique_dim _unique2 unique_consecutive argsort": _sort,
    "_embedding_bag _embedding_bag_forward_only embedding_bag": _embedding_bag,
    "_cdist_forward _pdist_forward cdist": _distance,
    "_fft_r2c _fft_c2r _fft_c2c": _fft,
    "histc bincount": over(adds=1, compares=1),
    "cross linalg_cross": each(adds=1, muls=2),
    "binary_cross_entropy": over(adds=3, muls=2, specials=2),
    "binary_cross_entropy_with_logits": over(adds=3, muls=2, specials=2),
    "mse_loss": over(adds=2, muls=1),
    "smooth_l1_loss huber_loss": over(adds=2, muls=2, compares=1),
    "nll_loss_forward nll_loss2d_forward multilabel_margin_loss_forward multi_margin_loss soft_margin_loss": over(
        adds=1, muls=1
    ),
    "_ctc_loss": over(adds=3, specials=3),
    "col2im": _fold,
    "affine_grid_generator": each(adds=2, muls=3),
    "_thnn_fused_lstm_cell": each(adds=2, muls=3, specials=5),
    "_thnn_fused_gru_cell": each(adds=5, muls=3, specials=3),
    "_euclidean_dist": _distance,
    "trace": over(adds=1),
    "diff": each(adds=1),
    "_fused_moving_avg_obs_fq_helper fake_quantize_per_tensor_affine_cachemask": each(adds=1, muls=2, compares=2),
    "threshold_backward hardtanh_backward hardshrink_backward softshrink_backward": each(compares=1),
    "sigmoid_backward tanh_backward": each(adds=1, muls=2),
    "gelu_backward": each(adds=2, muls=7, specials=2),
    "silu_backward": each(adds=2, muls=3, specials=1),
    "log_sigmoid_backward softplus_backward": each(adds=1, muls=1, specials=1),
    "mish_backward": each(adds=3, muls=4, specials=2),
    "hardswish_backward": each(adds=1, muls=2, compares=2),
    "hardsigmoid_backward": each(muls=1, compares=2),
    "elu_backward": each(adds=1, muls=1, compares=1),
    "leaky_relu_backward rrelu_with_noise_backward": each(muls=1, compares=1),
    "_prelu_kernel_backward": each(muls=2, compares=1),
    "glu_backward": _glu_backward,
    "_softmax_backward_data": each(adds=2, muls=2),
    "_log_softmax_backward_data": each(adds=2, muls=1, specials=1),
    "nll_loss_backward nll_loss2d_backward": _target_backward,
    "mse_loss_backward": each(adds=1, muls=2),
    "smooth_l1_loss_backward huber_loss_backward": each(adds=1, muls=2, compares=2),
    "binary_cross_entropy_backward": each(adds=2, muls=2, specials=1),
    "soft_margin_loss_backward": each(adds=1, muls=2, specials=2),
    "native_batch_norm_backward cudnn_batch_norm_backward miopen_batch_norm_backward batch_norm_backward": _batch_norm_backward,
    "native_layer_norm_backward native_group_norm_backward": over(adds=5, muls=4),
    "_fused_rms_norm_backward": over(adds=3, muls=6),
    "_weight_norm_interface_backward": over(adds=2, muls=4),
    "native_dropout_backward": each(muls=2),
    """max_pool2d_with_indices_backward max_pool3d_with_indices_backward adaptive_max_pool2d_backward adaptive_max_pool3d_backward
    upsample_nearest1d_backward upsample_nearest2d_backward upsample_nearest3d_backward reflection_pad1d_backward
    reflection_pad2d_backward replication_pad1d_backward replication_pad2d_backward embedding_dense_backward
    unfold_backward""": over(adds=1),
    "upsample_linear1d_backward": over(adds=2, muls=2),
    "upsample_bilinear2d_backward": over(adds=4, muls=4),
    "avg_pool2d_backward avg_pool3d_backward": _avg_pool_backward,
    "_adaptive_avg_pool2d_backward _adaptive_avg_pool3d_backward": _adaptive_avg_backward,
    "complex": COPY,
    "polar": each(muls=2, specials=2),  # r cos, r sin
    "angle": each(specials=1),
}

PER_OUTPUT = (_divide, _power)
"""Functions of which each output element is computed on its own, as in `each`."""
TABLE_OF_ROWS: dict[str, Row] = {name: row for names, row in _GROUPS.items() for name in names.split()}


def row(packet: str) -> Row | None:
    """The row of an aten packet name such as `add` or `add_`; None: no rule."""
    found = TABLE_OF_ROWS.get(packet)
    return found if found is not None else TABLE_OF_ROWS.get(packet.removesuffix("_"))

"""Fitted models as ONNX graphs: a converter for skl2onnx, which then takes pipelines that end in ours.

Needs the extra ``onnx``: ``pip install 'sknatgrad[onnx]'``.
"""

from __future__ import annotations

from typing import Any

try:
    from onnx import TensorProto
    from skl2onnx import update_registered_converter
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes
    from skl2onnx.common.utils_classifier import get_label_classes
except ImportError as error:
    message = f"sknatgrad.onnx needs the package {error.name}, which is not here: pip install 'sknatgrad[onnx]'."
    raise ImportError(message) from error
import numpy as np

from sknatgrad._estimator.classifier import NaturalGradientLogisticRegression

__all__ = ["register_converter"]

# those of skl2onnx's own linear classifiers
OPTIONS = {
    "zipmap": [True, False, "columns"],
    "nocl": [True, False],
    "output_class_labels": [False, True],
    "raw_scores": [True, False],
}
TWO = 2  # classes, of one logit


def register_converter(estimator: type = NaturalGradientLogisticRegression) -> None:
    """Tell skl2onnx how to convert our models, alone or within whatever it can convert.

    The graph takes rows of float32, float64, int64 or bool and computes in float64, as `predict_proba` does; what comes
    out is float64 if the rows are, otherwise float32. The first output is the label, int64 or string, the second the
    probabilities. Options are those of :class:`sklearn.linear_model.LogisticRegression` in skl2onnx: `zipmap`, `nocl`,
    `output_class_labels` and `raw_scores`, the logits, of two classes -z and z.

    Parameters
    ----------
    estimator : type, default=NaturalGradientLogisticRegression
        Class to register it for: skl2onnx asks for the very class, so classes derived from ours need a call each.

    Examples
    --------
    >>> import numpy as np
    >>> from skl2onnx import to_onnx
    >>> from sklearn.datasets import load_iris
    >>> from sknatgrad import NaturalGradientLogisticRegression
    >>> from sknatgrad.onnx import register_converter
    >>> register_converter()
    >>> X, y = load_iris(return_X_y=True)
    >>> graph = to_onnx(NaturalGradientLogisticRegression().fit(X, y), X[:1], options={"zipmap": False})
    >>> [output.name for output in graph.graph.output]
    ['label', 'probabilities']
    """
    update_registered_converter(
        estimator, f"SkNatGrad{estimator.__name__}", _shapes, _convert, overwrite=True, options=OPTIONS
    )


def _shapes(operator: Any) -> None:
    """Set the types and shapes of what comes out."""
    calculate_linear_classifier_output_shapes(operator)
    scores = operator.outputs[1]
    if any(reader.type == "SklearnZipMap" for reader in scores.operators_inputs_):
        # dictionaries of ONNX hold float32 alone
        scores.set_type(FloatTensorType(scores.type.shape))


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes of a fitted model.

    Not ONNX's own LinearClassifier, which computes in float32: a year and an income, as they are, put its probabilities
    off by 7e-6.
    """

    def constant(name: str, kind: int, values: Any) -> str:
        unique: str = scope.get_unique_variable_name(name)
        container.add_initializer(unique, kind, np.shape(values), np.ravel(values).tolist())
        return unique

    def node(kind: str, *inputs: str, into: str | None = None, **attributes: Any) -> str:
        output: str = into or scope.get_unique_variable_name(kind.lower())
        container.add_node(kind, list(inputs), output, name=scope.get_unique_operator_name(kind), **attributes)
        return output

    model, (given,), (label, scores) = operator.raw_operator, operator.inputs, operator.outputs
    coef, intercept = model.coef_.astype(np.float64), model.intercept_.astype(np.float64)
    two = len(model.classes_) == TWO
    if two:
        coef, intercept = np.vstack([-coef, coef]), np.concatenate([-intercept, intercept])
    rows = node("Cast", given.full_name, to=TensorProto.DOUBLE)
    products = node("MatMul", rows, constant("coef", TensorProto.DOUBLE, coef.T))
    answer = logits = node("Add", products, constant("intercept", TensorProto.DOUBLE, intercept))
    classes = get_label_classes(scope, model)
    if all(isinstance(each, str) for each in classes):
        names = constant("classes", TensorProto.STRING, [each.encode() for each in classes])
    else:
        names = constant("classes", TensorProto.INT64, classes.astype(np.int64))
    node("Gather", names, node("ArgMax", logits, axis=1, keepdims=0), into=label.full_name)
    if not container.get_options(model, {"raw_scores": False})["raw_scores"]:
        # the softmax of -z/2 and z/2 is the sigmoid of -z and z
        halves = node("Mul", logits, constant("half", TensorProto.DOUBLE, [0.5])) if two else logits
        answer = node("Softmax", halves, axis=1)
    double = isinstance(scores.type, DoubleTensorType)
    node("Cast", answer, into=scores.full_name, to=TensorProto.DOUBLE if double else TensorProto.FLOAT)

"""Fitted models as ONNX graphs: a skl2onnx converter for models of this package, alone or in pipelines.

It needs the extra ``onnx``: ``pip install 'sknatgrad[onnx]'``.
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
    message = (
        f"sknatgrad.onnx needs the package {error.name}, which is not installed; run pip install 'sknatgrad[onnx]'."
    )
    raise ImportError(message) from error
import numpy as np

from sknatgrad._estimator.classifier import NaturalGradientLogisticRegression
from sknatgrad._inputs.labels import label_kind
from sknatgrad._model.class_labels import label_name
from sknatgrad._model.layout import BINARY, fitted_theta, split

__all__ = ["register_converter"]

# the options of skl2onnx's own linear classifiers
OPTIONS = {
    "zipmap": [True, False, "columns"],
    "nocl": [True, False],
    "output_class_labels": [False, True],
    "raw_scores": [True, False],
}


def register_converter(estimator: type = NaturalGradientLogisticRegression) -> None:
    """Register a converter of models of this package with skl2onnx, for a model alone or in a pipeline.

    The graph takes rows of float32, float64, int64 or bool and computes in float64, as `predict_proba` does. The
    results are float64 if the rows are, otherwise float32. The first output is the label, int64 or string, and the
    second the probabilities. The options are those of :class:`sklearn.linear_model.LogisticRegression` in skl2onnx:
    `zipmap`, `nocl`, `output_class_labels`, and `raw_scores` for the logits, which are -z and z for two classes.

    Parameters
    ----------
    estimator : type, default=NaturalGradientLogisticRegression
        Class for which the converter is registered. skl2onnx looks up the exact class, so each derived class needs its
        own call.

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
    """Set the types and the shapes of the outputs; refuse labels that ONNX does not have."""
    classes = get_label_classes(operator.scope_inst, operator.raw_operator)
    # objects are dates, or numbers that no type of numpy holds exactly
    if classes.dtype.kind not in "biufU" and label_kind(classes) != "word":
        message = (
            f"classes_ holds {label_name(classes[0])}, but labels in ONNX are numbers of 64 bits or strings: fit to "
            "the labels as strings, or convert with the option 'nocl', which gives the index of the class."
        )
        raise ValueError(message)
    calculate_linear_classifier_output_shapes(operator)
    scores = operator.outputs[1]
    if any(reader.type == "SklearnZipMap" for reader in scores.operators_inputs_):
        # dictionaries in ONNX can hold only float32
        scores.set_type(FloatTensorType(scores.type.shape))


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes of a fitted model to the graph.

    ONNX's own LinearClassifier is not used, because it computes in float32. With unscaled columns such as a year and an
    income, its probabilities have errors of 7e-6.
    """

    def constant(name: str, kind: int, values: Any) -> str:
        unique: str = scope.get_unique_variable_name(name)
        container.add_initializer(unique, kind, np.shape(values), np.ravel(values).tolist())
        return unique

    def node(kind: str, *inputs: str, into: str | None = None, **attributes: Any) -> str:
        output: str = into or scope.get_unique_variable_name(kind.lower())
        container.add_node(kind, list(inputs), output, name=scope.get_unique_operator_name(kind), **attributes)
        return output

    model, (rows_in,), (label_out, scores_out) = operator.raw_operator, operator.inputs, operator.outputs
    theta, centres = fitted_theta(model, intercept=True)
    coef, intercept = split(theta, intercept=True)
    binary = len(model.classes_) == BINARY
    if binary:
        coef, intercept = np.vstack([-coef, coef]), np.concatenate([-intercept, intercept])
    rows = node("Cast", rows_in.full_name, to=TensorProto.DOUBLE)
    if centres is not None:
        rows = node("Sub", rows, constant("centres", TensorProto.DOUBLE, centres))
    products = node("MatMul", rows, constant("coef", TensorProto.DOUBLE, coef.T))
    result = logits = node("Add", products, constant("intercept", TensorProto.DOUBLE, intercept))
    classes = get_label_classes(scope, model)
    if all(isinstance(label, str) for label in classes):
        labels = constant("classes", TensorProto.STRING, [label.encode() for label in classes])
    else:
        labels = constant("classes", TensorProto.INT64, classes.astype(np.int64))
    node("Gather", labels, node("ArgMax", logits, axis=1, keepdims=0), into=label_out.full_name)
    if not container.get_options(model, {"raw_scores": False})["raw_scores"]:
        # the softmax of -z/2 and z/2 equals the sigmoid of -z and z
        halves = node("Mul", logits, constant("half", TensorProto.DOUBLE, [0.5])) if binary else logits
        result = node("Softmax", halves, axis=1)
    double = isinstance(scores_out.type, DoubleTensorType)
    node("Cast", result, into=scores_out.full_name, to=TensorProto.DOUBLE if double else TensorProto.FLOAT)

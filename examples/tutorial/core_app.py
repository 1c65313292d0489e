"""The tutorial's own code: a network for regression, in NumPy, with the interface that it uses."""

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
WIDTH = 16


class Network:
    """Maps numbers to numbers through `n_layers` layers. Shapes: (batch, 1) to (batch, 1)."""

    def __init__(self, n_layers: int) -> None:
        sizes = [1, *[WIDTH] * (n_layers - 1), 1]
        self.weights = [
            np.random.normal(0, (1 / inputs) ** 0.5, (inputs, outputs))
            for inputs, outputs in itertools.pairwise(sizes)
        ]
        self.gradients = [np.zeros_like(weight) for weight in self.weights]
        self._inputs: list[Array] = []

    def __call__(self, x: Array) -> "Prediction":
        self._inputs = []
        for layer, weight in enumerate(self.weights):
            self._inputs.append(x if layer == 0 else np.tanh(x))
            x = self._inputs[-1] @ weight
        return Prediction(self, x)

    def backward(self, gradient: Array) -> None:
        """Sets the gradients of all weights from that of the output."""
        for layer in reversed(range(len(self.weights))):
            self.gradients[layer] = self._inputs[layer].T @ gradient
            gradient = (gradient @ self.weights[layer].T) * (1 - self._inputs[layer] ** 2)


class Prediction:
    """What a network gave, and the network, for the way back."""

    def __init__(self, network: Network, values: Array) -> None:
        self.network = network
        self.values = values


class LossValue:
    """A loss that can be read and sent back through the network."""

    def __init__(self, prediction: Prediction, error: Array) -> None:
        self._prediction = prediction
        self._error = error

    def item(self) -> float:
        return float(np.mean(self._error**2))

    def backward(self) -> None:
        self._prediction.network.backward(2 * self._error / self._error.size)


class Loss:
    """The mean squared error."""

    def __call__(self, prediction: Prediction, target: Array) -> LossValue:
        return LossValue(prediction, prediction.values - target)


class Optimizer:
    """Plain gradient descent."""

    def __init__(self, model: Network, lr: float) -> None:
        self.model = model
        self.lr = lr

    def step(self) -> None:
        for weight, gradient in zip(self.model.weights, self.model.gradients, strict=True):
            weight -= self.lr * gradient


class DataLoader:
    """Batches of points of a sine, the same each time."""

    def __init__(self, batches: int = 15, batch_size: int = 32) -> None:
        x = np.random.default_rng(0).uniform(-3, 3, (batches, batch_size, 1))
        self._data = list(zip(x, np.sin(x), strict=True))

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        return iter(self._data)

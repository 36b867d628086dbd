"""Scores against closed forms and true retraining.

Ridge and logistic regression are convex: influence can be compared with leaving an example out and
solving again. The strength of weight decay is the damping, `fixed`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import spearmanr
from torch import nn

from dataworth.errors import ConfigError
from dataworth.features.gradients import CausalLM, Examples, Gradients, Supervised
from dataworth.features.gradients.preconditioners import (
    ConjugateGradients,
    Damping,
    Identity,
    NeumannSeries,
    Products,
    dense,
    diagonal,
    gram,
    kronecker,
    scaling_of,
)
from dataworth.features.gradients.projection import Whole
from dataworth.features.gradients.scoring import query_vectors, scores, self_scores
from features.gradients.models import TinyLM, documents, seeded

Matrix = np.ndarray


class Ridge:
    """Half the mean squared error plus half the decay times the squared weights, at its minimum."""

    def __init__(self, count: int = 40, size: int = 6, decay: float = 0.1) -> None:
        generator = np.random.default_rng(0)
        self.decay = decay
        self.x = generator.normal(size=(count, size)) @ generator.normal(size=(size, size))
        self.y = self.x @ generator.normal(size=size) + generator.normal(size=count)
        self.model = nn.Linear(size, 1, bias=False).double()
        self.weight = self.fit(np.ones(count))
        with torch.no_grad():
            self.model.weight.copy_(torch.from_numpy(self.weight)[None])
        self.task = Supervised("squared")
        self.engine = Gradients(self.model, self.task)

    def fit(self, weights: Matrix) -> Matrix:
        """The minimum where each example counts `weights` / n."""
        count, size = self.x.shape
        h = (self.x.T * weights) @ self.x / count + self.decay * np.eye(size)
        return np.linalg.solve(h, (self.x.T * weights) @ self.y / count)

    def examples(self, x: Matrix, y: Matrix) -> Examples:
        pairs = [(torch.from_numpy(a), torch.tensor([b])) for a, b in zip(x, y, strict=True)]
        return self.task.examples(pairs, size=7)

    def loss(self, weight: Matrix, x: Matrix, y: Matrix) -> Matrix:
        return 0.5 * (x @ weight - y) ** 2


def test_ridge_against_the_derivative_and_leaving_out() -> None:
    ridge = Ridge()
    generator = np.random.default_rng(1)
    qx, qy = generator.normal(size=(5, 6)), generator.normal(size=5)
    train, queries = ridge.examples(ridge.x, ridge.y), ridge.examples(qx, qy)
    exact = dense(ridge.engine, train, damping=Damping(fixed=ridge.decay))
    found = scores(ridge.engine, train, queries, exact)
    count = len(ridge.x)
    h = ridge.x.T @ ridge.x / count + ridge.decay * np.eye(6)
    residual = ridge.x @ ridge.weight - ridge.y
    slope = qx * (qx @ ridge.weight - qy)[:, None]
    # The derivative of the closed form in the example's weight, as a reduction of the loss.
    closed = (residual[:, None] * ridge.x) @ np.linalg.solve(h, slope.T) / count
    np.testing.assert_allclose(found, closed, rtol=1e-5, atol=1e-7)
    # By finite differences of refitting.
    for row in (0, 7):
        weights = np.ones(count)
        weights[row] += 1e-4
        more = ridge.loss(ridge.fit(weights), qx, qy)
        weights[row] -= 2e-4
        fewer = ridge.loss(ridge.fit(weights), qx, qy)
        np.testing.assert_allclose(found[row], (fewer - more) / 2e-4, rtol=1e-4, atol=1e-7)
    # Leaving one out changes the weights by the influence / (1 - leverage), exactly.
    leverage = np.einsum("ni,ij,nj->n", ridge.x, np.linalg.inv(h), ridge.x) / count
    for row in (3, 20):
        weights = np.ones(count)
        weights[row] = 0
        moved = ridge.fit(weights) - ridge.weight
        change = np.linalg.solve(h, residual[row] * ridge.x[row]) / count / (1 - leverage[row])
        np.testing.assert_allclose(moved, change, rtol=1e-8)
        # So does the score, to first order in the weights.
        first = slope @ moved
        np.testing.assert_allclose(found[row] / (1 - leverage[row]), first, rtol=1e-4, atol=1e-7)


def test_logistic_against_leaving_out() -> None:
    """Spearman with true leave-one-out over 0.95 for every query; sign and size too."""
    generator = np.random.default_rng(0)
    count, size, decay = 200, 5, 1e-2
    x = np.concatenate([generator.normal(size=(count + 8, size)), np.ones((count + 8, 1))], 1)
    chance = 1 / (1 + np.exp(-x @ generator.normal(size=size + 1)))
    y = (generator.random(count + 8) < chance).astype(np.int64)

    def fit(kept: Matrix) -> Matrix:
        inputs, signs = x[:count][kept], 2 * y[:count][kept] - 1

        def objective(w: Matrix) -> tuple[float, Matrix]:
            margin = signs * (inputs @ w)
            slope = -(signs / (1 + np.exp(margin))) @ inputs / count
            return np.logaddexp(0, -margin).sum() / count + decay / 2 * w @ w, slope + decay * w

        return minimize(objective, np.zeros(size + 1), jac=True, tol=1e-12).x

    class Logits(nn.Linear):
        """Class 0 has the logit 0."""

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            made = super().forward(inputs)
            return torch.cat([torch.zeros_like(made), made], -1)

    model = Logits(size + 1, 1, bias=False).double()
    weight = fit(np.ones(count, bool))
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(weight)[None])
    task = Supervised()
    engine = Gradients(model, task)
    pairs = [(torch.from_numpy(a), int(b)) for a, b in zip(x, y, strict=True)]
    train, queries = task.examples(pairs[:count], size=64), task.examples(pairs[count:])
    found = scores(engine, train, queries, dense(engine, train, damping=Damping(fixed=decay)))

    def losses(w: Matrix) -> Matrix:
        return np.logaddexp(0, -(2 * y[count:] - 1) * (x[count:] @ w))

    truth = np.empty((count, 8))
    for row in range(count):
        kept = np.ones(count, bool)
        kept[row] = False
        truth[row] = losses(fit(kept)) - losses(weight)
    for query in range(8):
        assert spearmanr(found[:, query], truth[:, query])[0] > 0.99
    assert np.polyfit(found.ravel(), truth.ravel(), 1)[0] == pytest.approx(1, abs=0.1)


def test_kfac_is_exact_for_scalar_linear_regression() -> None:
    ridge = Ridge()
    train = ridge.examples(ridge.x, ridge.y)
    truth = scores(ridge.engine, train, train, dense(ridge.engine, train)).ravel()
    for kind in ("kfac", "ekfac"):
        found = scores(ridge.engine, train, train, kronecker(ridge.engine, train, kind=kind))
        correlation = np.corrcoef(found.ravel(), truth)[0, 1]
        if kind == "kfac":
            assert correlation == pytest.approx(1, abs=1e-9)
        else:  # noise of the drawn labels in the variances
            assert correlation > 0.97


def test_kfac_is_exact_for_several_outputs_in_the_limit() -> None:
    """Squared error: the curvature is (mean of x x^T) (x) identity, up to noise of drawn labels."""
    generator = np.random.default_rng(3)
    x = generator.normal(size=(3000, 3)) * [1, 2, 0.3]
    model = nn.Linear(3, 2, bias=False).double()
    task = Supervised("squared")
    pairs = [(torch.from_numpy(row), torch.zeros(2, dtype=torch.float64)) for row in x]
    engine = Gradients(model, task)
    train = task.examples(pairs, size=500)
    exact = np.kron(np.eye(2), x.T @ x / len(x))
    np.testing.assert_allclose(dense(engine, train).matrix, exact, atol=1e-12)
    vectors = torch.eye(6, dtype=torch.float64)
    for kind in ("kfac", "ekfac"):
        found = kronecker(engine, train, kind=kind, damping=Damping(fixed=0.0))
        np.testing.assert_allclose(
            torch.linalg.inv(found.apply(vectors)), exact, atol=0.15 * np.abs(exact).max()
        )


class Small:
    """A small language model for the solvers, with its dense answer."""

    def __init__(self) -> None:
        model = seeded(1, TinyLM(11, 4), 0.3)
        self.engine = Gradients(model, CausalLM())
        task = self.engine.task
        self.train = task.examples(documents(12, 1, 11, 8), size=12)
        self.queries = task.examples(documents(3, 2, 11, 8))
        self.dense = dense(self.engine, self.train)
        self.truth = scores(self.engine, self.train, self.queries, self.dense)


@pytest.fixture(scope="module")
def small() -> Small:
    return Small()


def test_gauss_newton_is_the_fisher_information(small: Small) -> None:
    """Summed over every label that could be drawn at one position, in its probability."""
    model = seeded(2, nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)))
    task = Supervised()
    engine = Gradients(model, task)
    x = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    exact = dense(engine, task.examples([(row, 0) for row in x])).matrix
    total = torch.zeros_like(exact)
    with torch.no_grad():
        chance = model(x).softmax(-1)
    for label in range(3):
        _, batch = next(iter(task.examples([(row, label) for row in x])))
        rows = engine.gradients(batch)
        total += (rows.T * chance[:, label]) @ rows / 5
    torch.testing.assert_close(exact, total)


def test_products_are_those_of_autograd(small: Small) -> None:
    engine = small.engine
    flat = engine.blocks.flatten({k: v.detach() for k, v in engine.parameters().items()})
    from dataworth.features.gradients.functional import Called, differentiable

    def mean_loss(vector: torch.Tensor) -> torch.Tensor:
        model = Called(engine.model, engine.blocks.unflatten(vector))
        total = vector.new_zeros(())
        for _, batch in small.train:
            total = total + engine.task.loss(engine.task.outputs(model, batch), batch).sum()
        return total / len(small.train)

    with differentiable():
        hessian = torch.autograd.functional.hessian(mean_loss, flat)
    vectors = torch.eye(engine.size, dtype=torch.float64)[::40]
    found = Products(engine, small.train, "hessian", together=3)(vectors)
    torch.testing.assert_close(found, hessian[::40])
    one = Products(engine, small.train, "hessian")(vectors[:1])
    torch.testing.assert_close(one, hessian[:1])
    with pytest.raises(ConfigError, match=r"not positive.*gauss_newton"):
        dense(engine, small.train, kind="hessian", damping=Damping(fixed=0.0))
    with pytest.raises(ConfigError, match="at most 10"):
        dense(engine, small.train, largest=10)


def test_conjugate_gradients_are_the_dense_answer(small: Small) -> None:
    products = Products(small.engine, small.train, keep=True)
    inner = kronecker(small.engine, small.train)
    steps = {}
    for preconditioner in (None, inner):
        solver = ConjugateGradients(products, small.dense.damping, preconditioner, 1e-7, 1000)
        found = scores(small.engine, small.train, small.queries, solver)
        np.testing.assert_allclose(found, small.truth, atol=1e-5 * np.abs(small.truth).max())
        few = ConjugateGradients(products, small.dense.damping, preconditioner, 1e-7, 12)
        error = scores(small.engine, small.train, small.queries, few) - small.truth
        steps[preconditioner] = float(np.abs(error).max())
    assert steps[inner] < 0.7 * steps[None]


def test_block_conjugate_gradients_share_directions(small: Small) -> None:
    """The same answer in fewer steps, also where queries depend on each other."""
    products = Products(small.engine, small.train, keep=True)
    inner = kronecker(small.engine, small.train)
    queries = small.engine.task.examples(documents(6, 5, 11, 8))
    vectors = query_vectors(small.engine, queries)
    vectors = torch.cat([vectors, vectors[:2] + vectors[2:4], 0 * vectors[:1]])
    truth = small.dense.apply(vectors)
    errors = []
    for block in (False, True):
        for steps in (1000, 6):
            solver = ConjugateGradients(
                products, small.dense.damping, inner, 1e-7, steps, block=block
            )
            errors.append(float((solver.apply(vectors) - truth).abs().max() / truth.abs().max()))
    alone, alone_short, together, together_short = errors
    assert max(alone, together) < 1e-5
    assert together_short < 0.7 * alone_short
    assert "block" in solver.describe()


def test_conjugate_gradients_with_a_damping_for_each_parameter(small: Small) -> None:
    products = Products(small.engine, small.train, keep=True)
    vectors = query_vectors(small.engine, small.queries)
    each = torch.linspace(0.1, 2.0, small.engine.size, dtype=torch.float64)
    truth = torch.linalg.solve(small.dense.matrix + torch.diag(each), vectors.T).T
    for block in (False, True):
        solver = ConjugateGradients(products, each, None, 1e-7, 1000, block=block)
        torch.testing.assert_close(solver.apply(vectors), truth, rtol=1e-4, atol=1e-6)
    with pytest.raises(ConfigError, match="one number for each"):
        ConjugateGradients(products, each[:5]).apply(vectors)


def test_neumann_series_has_the_dense_answer_as_its_limit(small: Small) -> None:
    products = Products(small.engine, small.train, keep=True)
    largest = float(torch.linalg.eigvalsh(small.dense.matrix)[-1])
    fixed = Damping(fixed=largest / 5)
    damping = fixed.values(small.dense.damping)
    exact = dense(small.engine, small.train, damping=fixed)
    truth = scores(small.engine, small.train, small.queries, exact)
    scaling = scaling_of(products, damping)
    assert 0.6 * largest < scaling < 1.25 * largest
    series = NeumannSeries(products, damping, scaling, 80)
    found = scores(small.engine, small.train, small.queries, series)
    np.testing.assert_allclose(found, truth, atol=1e-4 * np.abs(truth).max())
    with pytest.raises(ConfigError, match="diverges"):
        NeumannSeries(products, damping, scaling / 8, 2000).apply(
            torch.ones(1, small.engine.size, dtype=torch.float64)
        )


def test_neumann_series_over_batches(small: Small) -> None:
    batches = small.engine.task.examples(small.train.items, size=5)
    products = Products(small.engine, batches, keep=True)
    damping = Damping(2.0).values(small.dense.damping / 0.1)
    series = NeumannSeries(products, damping, 3 * scaling_of(products, damping), 150, 2)
    found = scores(small.engine, small.train, small.queries, series)
    exact = dense(small.engine, small.train, damping=Damping(2.0))
    truth = scores(small.engine, small.train, small.queries, exact)
    assert np.corrcoef(found.ravel(), truth.ravel())[0, 1] > 0.95
    again = scores(small.engine, small.train, small.queries, series)
    assert np.array_equal(found, again)


def test_kronecker_factors_are_nearer_with_measured_variances(small: Small) -> None:
    """EK-FAC is at least as near to the blocks of the Fisher information of its own draws."""
    engine = small.engine
    rows = torch.cat([engine.gradients(batch, "sampled") for _, batch in small.train])
    fisher = rows.T @ rows / len(rows)
    made = {}
    for kind in ("kfac", "ekfac"):
        found = kronecker(engine, small.train, kind=kind, damping=Damping(fixed=1e-6))
        made[kind] = torch.linalg.inv(found.apply(torch.eye(engine.size, dtype=torch.float64)))
    for block in engine.blocks:
        truth = fisher[block.span, block.span]
        errors = {k: float((m[block.span, block.span] - truth).norm()) for k, m in made.items()}
        assert errors["ekfac"] <= errors["kfac"] * (1 + 1e-3), block.name
        # Both have the trace of the truth, EK-FAC exactly.
        trace = made["ekfac"][block.span, block.span].trace()
        torch.testing.assert_close(trace, truth.trace(), rtol=1e-2, atol=1e-4)


def test_diagonal_is_the_diagonal(small: Small) -> None:
    rows = torch.cat([small.engine.gradients(batch) for _, batch in small.train])
    found = diagonal(small.engine, small.train, labels="true", damping=Damping(0.5))
    squares = rows.square().mean(0)
    expected = squares.clone()
    for block in small.engine.blocks:
        expected[block.span] += 0.5 * squares[block.span].mean()
    torch.testing.assert_close(found.curvature, expected)


@pytest.mark.parametrize("kind", ["diagonal", "kfac", "ekfac", "dense"])
def test_much_damping_gives_plain_products(small: Small, kind: str) -> None:
    damping = Damping(fixed=1e8)
    fits = {
        "diagonal": lambda: diagonal(small.engine, small.train, damping=damping),
        "kfac": lambda: kronecker(small.engine, small.train, kind="kfac", damping=damping),
        "ekfac": lambda: kronecker(small.engine, small.train, damping=damping),
        "dense": lambda: dense(small.engine, small.train, damping=damping),
    }
    fitted = fits[kind]()
    plain = scores(small.engine, small.train, small.queries, Identity())
    found = scores(small.engine, small.train, small.queries, fitted)
    np.testing.assert_allclose(found * 1e8 * len(small.train), plain, rtol=1e-4, atol=1e-4)
    own = self_scores(small.engine, small.train, fitted)
    assert (own > 0).all()


def test_kronecker_does_not_depend_on_batches(small: Small) -> None:
    vectors = torch.randn(2, small.engine.size, dtype=torch.float64)
    for kind in ("kfac", "ekfac"):
        one, many = (
            kronecker(
                small.engine,
                small.engine.task.examples(small.train.items, size=size),
                kind=kind,  # type: ignore[arg-type]
            )
            for size in (1, 12)
        )
        torch.testing.assert_close(one.apply(vectors), many.apply(vectors), rtol=1e-6, atol=1e-6)


def test_more_draws_are_nearer_to_the_curvature(small: Small) -> None:
    engine = small.engine
    eye = torch.eye(engine.size, dtype=torch.float64)
    errors = []
    for draws in (1, 30):
        found = kronecker(engine, small.train, draws=draws, longest=0, damping=Damping(fixed=1e-9))
        diagonal_ = 1 / found.apply(eye).diagonal()
        errors.append(float((diagonal_ - small.dense.matrix.diagonal()).norm()))
    # Without rotation, what is left is noise of the draws: a thirtieth of its variance.
    assert errors[1] < 0.4 * errors[0]
    with pytest.raises(ConfigError, match="at least once"):
        kronecker(engine, small.train, draws=0)


def test_long_sides_are_cut(small: Small) -> None:
    found = kronecker(small.engine, small.train, longest=8)
    sides = {
        b.name: (r, c) for b, r, c in zip(found.blocks, found.rows, found.columns, strict=True)
    }
    assert sides["qkv"][0].shape == (2, 6, 6) and sides["qkv"][1] is not None
    assert sides["table"][0] is None
    values = torch.cat([v.flatten() for v in found.values])
    none = kronecker(small.engine, small.train, longest=0)
    plain = diagonal(small.engine, small.train)
    torch.testing.assert_close(torch.cat([v.flatten() for v in none.values]), plain.curvature)
    assert values.shape == plain.curvature.shape


def test_gram_without_projection() -> None:
    """f = prediction, weight = residual: the score / (1 - leverage) is exact leave-one-out."""
    ridge = Ridge(decay=0.0)
    train = ridge.examples(ridge.x, ridge.y)
    projector = Whole().bind(ridge.engine.blocks)
    # Gradients of the prediction are the inputs: those of the loss over the residual.
    rows = torch.cat([projector(ridge.engine.factors(batch)) for _, batch in train])
    residual = torch.from_numpy(ridge.x @ ridge.weight - ridge.y)
    features = rows / residual[:, None]
    fitted = gram([features[:13], features[13:]], damping=Damping(fixed=0.0))
    query = torch.randn(1, 6, dtype=torch.float64)
    found = (fitted.apply(query) * fitted.scale @ features.T)[0] * residual
    h = ridge.x.T @ ridge.x
    leverage = np.einsum("ni,ij,nj->n", ridge.x, np.linalg.inv(h), ridge.x)
    for row in (0, 11):
        weights = np.ones(len(ridge.x))
        weights[row] = 0
        moved = query.numpy()[0] @ (ridge.fit(weights) - ridge.weight)
        assert float(found[row]) / (1 - leverage[row]) == pytest.approx(moved, rel=1e-8)
    with pytest.raises(ConfigError, match="do not span"):
        gram([features[:3]], damping=Damping(fixed=0.0))
    with pytest.raises(ConfigError, match="no gradients"):
        gram([])


def test_damping() -> None:
    means = torch.tensor([1.0, 0.0, 3.0])
    assert Damping(0.5).values(means).tolist() == [0.5, 0.0, 1.5]
    assert Damping(fixed=2.0).values(means).tolist() == [2.0, 2.0, 2.0]
    with pytest.raises(ConfigError, match="negative"):
        Damping(-0.1)


def test_a_block_without_curvature_gets_nothing() -> None:
    """An adapter whose other half is zero has no gradient: its scores are 0, not nan."""
    model = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 3, bias=False)).double()
    with torch.no_grad():
        model[1].weight.zero_()
    task = Supervised()
    engine = Gradients(model, task)
    train = task.examples([(torch.randn(3, dtype=torch.float64), i % 3) for i in range(6)])
    for fit in (kronecker, diagonal):
        vectors = fit(engine, train).apply(torch.eye(engine.size, dtype=torch.float64))
        assert bool(torch.isfinite(vectors).all()) and float(vectors[:6].abs().max()) == 0


def test_fitted_on_a_sample(small: Small) -> None:
    """The scale is one of all training examples, whatever the curvature was measured on."""
    engine, train = small.engine, small.train
    products = Products(engine, train)
    for one in (
        diagonal(engine, train, count=500),
        kronecker(engine, train, count=500),
        dense(engine, train, count=500),
        ConjugateGradients(products, small.dense.damping, count=500),
        NeumannSeries(products, small.dense.damping, 1.0, count=500),
        gram([torch.eye(3)], count=500),
    ):
        assert one.scale == 1 / 500

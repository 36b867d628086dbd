"""What an attribution is made from, opened. Imports nothing of torch before it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.fields import Fields
from dataworth.engine.local import Engine
from dataworth.engine.progress import Progress
from dataworth.errors import ConfigError, MissingExtra
from dataworth.flow.proxies import ProxySettings, tokens_of, train_proxies
from dataworth.flow.targets import read_documents

if TYPE_CHECKING:
    from dataworth.flow.attributing.attribution import Attribution

_FEW = 512  # tokens, where time and memory alone are asked for: a model of the same shape


def run_attribution(
    model: str,
    train: Any,
    queries: Any,
    *,
    curvature: Mapping[str, Any],
    layers: tuple[str, ...],
    shown: Mapping[str, Any],
    trained: str | int,
    fields: tuple[Fields, Fields],
    storage_options: Mapping[str, Any] | None,
    out: str | Path | None,
    overwrite: bool,
    dry_run: bool,
    engine: Engine,
    progress: Progress,
) -> Attribution:
    """Open the data, then attribute; see `dataworth.attribute`."""
    try:
        from dataworth.features.gradients.language import Reading
        from dataworth.features.gradients.solving import Curvature
        from dataworth.flow.attributing.attribution import AttributionSettings, attribute_documents
        from dataworth.lm.model import SIZES
    except ImportError as error:
        raise MissingExtra("attribution", "lm") from error
    if not model:
        raise ConfigError(
            "attribution needs the folder of a causal language model, of Hugging Face or of "
            "dataworth.lm, or a size such as tiny: then one is trained on the documents first"
        )
    keep = TemporaryDirectory(prefix="dataworth-") if out is None or dry_run else None
    folder = Path(keep.name) / "attribution" if keep is not None else Path(str(out)).absolute()
    # Beside what is made of it, so that the same call goes on with documents from memory too.
    spool = (folder if keep is None else Path(keep.name)) / "spool"
    corpus = Corpus.open(train, fields=fields[0], spool=spool, storage_options=storage_options)
    asked = Corpus.open(queries, fields=fields[1], storage_options=storage_options)
    if model in SIZES and not Path(model).exists():
        proxy = ProxySettings(
            size=model,
            tokens=_FEW if dry_run else tokens_of(trained),
            seed=int(curvature["seed"]),
            max_bad=float(shown["max_bad"]),
        )
        place = folder / "proxies"
        made = train_proxies(
            corpus, proxy, place, engine=engine, progress=progress, overwrite=overwrite
        )
        (model,) = made.models
    settings = AttributionSettings(model, Reading(layers=layers), Curvature(**curvature), **shown)
    return attribute_documents(
        corpus,
        read_documents("the queries", asked, max_bad=settings.max_bad),
        settings,
        folder,
        engine=engine,
        progress=progress,
        overwrite=overwrite,
        dry_run=dry_run,
        keep=keep,
    )

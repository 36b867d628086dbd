"""Inputs of an attribution, opened. Imports nothing of torch before it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from dataworth.attributing.asking import read_queries
from dataworth.corpus.corpus import Corpus
from dataworth.engine.device import find_device, find_dtype
from dataworth.engine.files import local_path
from dataworth.engine.progress import Progress
from dataworth.errors import ConfigError, check_extra
from dataworth.flow.given import as_tuple, engine_of, fields_beside, fields_of
from dataworth.flow.proxies import ProxySettings, tokens_of, train_proxies
from dataworth.options.calls import AttributeOptions

if TYPE_CHECKING:
    from dataworth.attributing.attribution import Attribution

TRAINED = "1M"
"""Tokens that a model is trained on where there is none yet, unless another number is given."""
_FEW = 512  # tokens, where time and memory alone are asked for: a model of the same shape


def run_attribution(options: AttributeOptions) -> Attribution:
    """Open the data, then attribute; see `dataworth.attribute`."""
    model, trained, out = options.model, options.trained, options.out
    storage_options, dry_run, overwrite = (
        options.storage_options,
        options.dry_run,
        options.overwrite,
    )
    engine, progress = engine_of(options.engine), options.progress or Progress()
    documents = fields_of(options)
    asked_fields = fields_beside(documents, options.query_text_field, options.query_template)
    check_extra("attribution", "lm")
    from dataworth.attributing.attribution import AttributionSettings, attribute_documents
    from dataworth.features.gradients.adapters import check_folder
    from dataworth.features.gradients.reading import Reading
    from dataworth.features.gradients.solving import Curvature
    from dataworth.lm.model import SIZES
    from dataworth.lm.tokenizer import load_tokenizer

    sized = _is_size(model, trained, list(SIZES))
    # Checked before anything is opened or trained.
    how = Curvature(**{name: getattr(options, name) for name in Curvature.__dataclass_fields__})
    reading = {name: getattr(options, name) for name in Reading.__dataclass_fields__}
    reading["layers"] = as_tuple(options.layers)
    settings = AttributionSettings(
        str(model), Reading(**reading), how, options.per, options.top, options.max_bad
    )
    find_dtype(settings.reading.dtype, find_device(settings.reading.device))
    if not sized and Path(model).is_dir():
        check_folder(Path(model))
        load_tokenizer(model)  # one that is missing is told before any text is read
    asked = read_queries(
        options.queries, asked_fields, max_bad=settings.max_bad, storage_options=storage_options
    )
    keep = TemporaryDirectory(prefix="dataworth-") if out is None or dry_run else None
    folder = (
        Path(keep.name) / "attribution" if keep is not None else local_path(str(out)).absolute()
    )
    # Beside what is made of it, so that the same call goes on with documents from memory too.
    spool = (folder if keep is None else Path(keep.name)) / "spool" / "pool"
    corpus = Corpus.open(
        options.train,
        fields=documents,
        spool=spool,
        storage_options=storage_options,
        out=None if keep is not None else folder,
    )
    if sized:
        proxy = ProxySettings(
            size=settings.model,
            tokens=_FEW if dry_run else tokens_of(TRAINED if trained is None else trained),
            seed=how.seed,
            max_bad=settings.max_bad,
        )
        place = folder / "proxies"
        made = train_proxies(
            corpus,
            proxy,
            place,
            engine=engine,
            progress=progress,
            overwrite=overwrite,
            device=settings.reading.device,
        )
        settings = replace(settings, model=made.models[0])
    return attribute_documents(
        corpus,
        asked,
        settings,
        folder,
        engine=engine,
        progress=progress,
        overwrite=overwrite,
        dry_run=dry_run,
        check=options.check,
        keep=keep,
    )


def _is_size(model: Any, trained: str | int | None, sizes: Sequence[str]) -> bool:
    """Tell if the model is a size to be trained. Raises ConfigError for what is no model."""
    if not isinstance(model, str | Path):
        raise ConfigError(
            f"the model is a folder (str or Path), not a {type(model).__name__}: save it first, "
            "with its tokenizer (dataworth.lm.model.save_model, or save_pretrained)"
        )
    if not str(model):
        raise ConfigError(
            "attribution needs the folder of a causal language model, of Hugging Face or of "
            "dataworth.lm, or a size such as tiny: then one is trained on the documents first"
        )
    if str(model) in sizes and not Path(model).exists():
        return True
    if trained is not None:
        raise ConfigError(
            f"trained is for a model that is trained on the way; {model} is there already: leave "
            f"trained out, or give a size ({', '.join(sizes)}) in the place of the model"
        )
    return False

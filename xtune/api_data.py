"""The verbs about data as Python functions; `xtune data` and notebooks call these and nothing below them.

Importing this module is cheap; torch and transformers come with the first verb that needs them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xtune.api import NamedRecipe, named_recipe, read
from xtune.errors import XtuneError
from xtune.recipe.words import Overrides, as_words

if TYPE_CHECKING:
    from xtune.report.compression import TokensReport
    from xtune.report.data_check import DataCheck
    from xtune.report.data_view import DataView
    from xtune.report.sets_view import SetsView
    from xtune.report.template_view import TemplateView

RECIPE = "recipe.yaml"
"""The recipe's name in a run folder, as `xtune.run.folder` has it, which imports more than this module may."""


def data_show(
    recipe: NamedRecipe | str | Path,
    overrides: Overrides = (),
    *,
    data: str | None = None,
    count: int | None = 5,
    row: int | None = None,
    evaluate: bool = False,
) -> "DataView":
    """The very sequences that training uses, to be looked at.

    Args:
        recipe: A recipe's name or file, what `read` returned, or a run folder; with `data`, a model.
        overrides: Changes to the recipe, as in `read`.
        data: A file of rows for the model, in the place of a recipe.
        count: Show so many sequences, the first in the order of the files; None for all.
        row: Show what became of this row of a file instead, counted from 0.
        evaluate: Show the evaluation set.

    Raises:
        XtuneError: The recipe, the model's tokenizer or the data is wrong; there are no such rows.
    """
    named = _named(recipe, overrides, data)
    from xtune.report.data_view import view  # noqa: PLC0415 - torch is imported late
    from xtune.report.opened import open_data  # noqa: PLC0415
    from xtune.report.preparing import preparing  # noqa: PLC0415

    opened = open_data(named.recipe, name=named.name, listener=preparing())
    return view(
        opened,
        name=named.name,
        set="evaluate" if evaluate else "train",
        count=count,
        row=row,
    )


def data_check(
    recipe: NamedRecipe | str | Path, overrides: Overrides = (), *, data: str | None = None
) -> "DataCheck":
    """All that is known of a recipe's data: rows, formats, tokens, lengths, drops, repeats, languages, and the verdict.

    Args:
        recipe: A recipe's name or file, what `read` returned, or a run folder; with `data`, a model.
        overrides: Changes to the recipe, as in `read`.
        data: A file of rows for the model, in the place of a recipe.

    Raises:
        XtuneError: The recipe or the model's tokenizer is wrong. What would keep the data or this
            machine from training is in the result.
    """
    named = _named(recipe, overrides, data)
    from xtune.report.data_check import check_data  # noqa: PLC0415 - torch is imported late
    from xtune.report.opened import open_data  # noqa: PLC0415
    from xtune.report.preparing import preparing  # noqa: PLC0415

    opened = open_data(named.recipe, name=named.name, listener=preparing())
    return check_data(opened, name=named.name)


def data_tokens(models: str | Sequence[str], files: str | Sequence[str]) -> "TokensReport":
    """How many characters of a text make a token, to choose a base model for a language by.

    Args:
        models: One model or several: folders, hub ids, `bundled:demo`. No weights are loaded.
        files: Texts, data files, XML files (their text alone), folders, globs.

    Raises:
        XtuneError: A tokenizer or a file cannot be read.
    """
    from xtune.report.compression import compare_tokenizers  # noqa: PLC0415 - torch is imported late

    return compare_tokenizers(
        [models] if isinstance(models, str) else models,
        [files] if isinstance(files, str) else files,
    )


def data_template(template: str | Path, *, model: str | None = None) -> "TemplateView":
    """What a chat template can do, tried on invented conversations: masks, end token, system prompt, tools, reasoning.

    Args:
        template: A model, whose own template is tried, or a Jinja file.
        model: For a file, the model whose tokenizer it is tried with; default: the demo's, which is
            given the special tokens that the template writes.

    Raises:
        XtuneError: There is no such model or file, or no template.
    """
    from xtune.report.template_view import try_template  # noqa: PLC0415 - torch is imported late

    return try_template(str(template), model)


def data_sets(name: str | None = None, *, language: str | None = None) -> "SetsView":
    """The data sets that recipes may name as `set:NAME`: one in full, all, or those in a language.

    Args:
        name: One set.
        language: ISO 639-1 code: `th`.

    Raises:
        XtuneError: No set has that name; the nearest are told.
    """
    from xtune.report.sets_view import known_sets  # noqa: PLC0415 - torch is imported late

    return known_sets(name, language)


def _named(
    recipe: NamedRecipe | str | Path, overrides: Overrides, data: str | None = None
) -> NamedRecipe:
    """The recipe that is meant: by name, by file, by run folder, or made of a model and a file of rows.

    Raises:
        XtuneError: It is a model, and there is no file of rows.
    """
    if isinstance(recipe, NamedRecipe):
        return named_recipe(recipe, overrides)
    if data is not None:
        from xtune.report.opened import recipe_for  # noqa: PLC0415 - torch is imported late

        words = as_words(overrides)
        return NamedRecipe(name=f"{recipe} on {data}", recipe=recipe_for(str(recipe), data, words))
    folder = Path(recipe).expanduser()
    if (folder / RECIPE).is_file():
        return NamedRecipe(name=str(recipe), recipe=read(folder / RECIPE, overrides).recipe)
    if str(recipe).startswith("bundled:") or (folder / "config.json").is_file():
        raise XtuneError(
            f"`{recipe}` is a model, not a recipe.",
            advice="Name rows for it: --data FILE (data=...).",
        )
    return read(recipe, overrides)

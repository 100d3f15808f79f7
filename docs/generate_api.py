"""Writes the pages docs/api/*.md from the docstrings, for `make docs`.

With the argument `--check`, it writes nothing, and fails if a page is stale.
"""

import pathlib
import re
import sys
import textwrap
from typing import Any

import griffe
import griffe2md

NOTE = "<!-- Written by `make docs` from the docstrings: edit those. -->\n\n"
ROOT = pathlib.Path(__file__).parents[1]
# Each page shows a package, and these modules of it after that.
PAGES = {
    "meta": ["experiments", "recipes", "evaluation", "tuning", "diagnostics",
             "plots"],
    "networks": ["preprocess", "postprocess", "elementwise"],
    "problems": []}
CONFIG: griffe2md.ConfigDict = {
    **griffe2md.default_config,
    "docstring_options": {"returns_multiple_items": False,
                          "returns_named_value": False,
                          "warnings": False},
    "filters": ["!^_[^_]"],
    "group_by_category": True,
    "inherited_members": False,
    "show_if_no_docstring": False,
    "show_signature_annotations": True,
    "show_submodules": False,
    "summary": {"classes": True, "functions": False},
}
# griffe2md repeats the types, which the signature has already.
REPLACEMENTS = [
    (r"^(- \*\*.*?\*\*) \(<code>.*?</code>\) \u2013 ", r"\1: "),
    (r"^- <code>(\w+Error)</code> \u2013 ", r"- `\1`: "),
    (r"^- <code>.*</code> \u2013 ", ""),
    (r"^(- .*?) \u2013 ", r"\1: "),
    (r"^- \*\*(\*+)(\w+)\*\*", r"- **`\1\2`**"),
    (r"^Bases: <code>(\[.*)</code>", r"Bases: \1"),
    (r"^Bases: <code>.*\n", ""),  # Private, or another library's.
    (r"\n{3,}", "\n\n"),
]


class CodeBlocks(griffe.Extension):
  """Shows examples, and the fields of a NamedTuple, as blocks of code."""

  def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
    docstring = obj.docstring
    if docstring is None:
      return
    docstring.value = re.sub(
        r"^Example:\n((?:(?:  .*)?\n)+)",
        lambda match: f"**Example:**\n\n{_block(match[1])}\n",
        f"{docstring.value}\n", flags=re.MULTILINE)
    if isinstance(obj, griffe.Class) and "NamedTuple" in map(str, obj.bases):
      # Not obj.source, which ends before the comment on the last field.
      source = "\n".join(obj.lines_collection[obj.filepath][obj.lineno - 1:])
      source = re.sub(r'\s*""".*?"""', "", source, count=1, flags=re.DOTALL)
      up_to_a_blank_line = re.split(r"\n\s*\n", source)[0]
      docstring.value += f"\n{_block(up_to_a_blank_line)}"


def _block(code: str) -> str:
  return f"```python\n{textwrap.dedent(code).strip()}\n```\n"


def render(package: str, modules: list[str]) -> str:
  """Returns the page of a package, in Markdown."""
  loader = griffe.GriffeLoader(
      extensions=griffe.Extensions(CodeBlocks()), search_paths=[str(ROOT)],
      docstring_parser=griffe.Parser.google,
      docstring_options=CONFIG["docstring_options"])
  for name in ("l2lgd", *PAGES):  # Each takes names from others.
    loader.load(name)
  loader.resolve_aliases()
  top = loader.modules_collection[package]
  for name, module in list(top.modules.items()):
    if name in module.members:  # networks.factory is a function.
      top.set_member(name, griffe.Alias(name, module[name], parent=top))
  page = "\n".join([
      griffe2md.render_object_docs(top, {**CONFIG, "heading_level": 1}),
      *(griffe2md.render_object_docs(top[name], CONFIG) for name in modules)])
  page = _with_links(package, page)
  for pattern, replacement in REPLACEMENTS:
    page = re.sub(pattern, replacement, page, flags=re.MULTILINE)
  return page


def _with_links(package: str, page: str) -> str:
  """Returns the page with links as GitHub has them, and no broken ones."""
  headings = set(re.findall(r"^#+ `(.*)`", page, re.MULTILINE))

  def link(match: re.Match[str]) -> str:
    text, path = match.groups()
    for place in path, f"{package}.{path.rpartition('.')[2]}":
      if place in headings:
        return f"[{text}](#{place.lower().replace('.', '')})"
    return text

  return re.sub(r"\[([^\[\]]*)\]\(#([\w.]+)\)", link, page)


def main() -> None:
  """Writes the pages, or checks them."""
  for package, modules in PAGES.items():
    path = ROOT / "docs" / "api" / f"{package}.md"
    page = NOTE + render(package, modules)
    if "--check" not in sys.argv:
      path.parent.mkdir(exist_ok=True)
      path.write_text(page, encoding="utf-8")
    elif not path.exists() or path.read_text(encoding="utf-8") != page:
      sys.exit(f"{path.relative_to(ROOT)} is stale: run `make docs`.")


if __name__ == "__main__":
  main()

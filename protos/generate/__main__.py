"""Write the generated documents: `python -m generate`, which `make proto` runs after `protos/build.py`."""

from __future__ import annotations

from .documents import ROOT, documents

__all__ = ["main"]


def main() -> None:
    """Write the documents that changed, and always the last one, whose age `make` checks."""
    made = documents()
    last = [*made][-1]
    for name, text in made.items():
        path = ROOT / name
        if name == last or not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

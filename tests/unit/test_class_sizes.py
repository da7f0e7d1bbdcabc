"""No class of ours is made of too many others: whoever reads it can hold its parts in mind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

CSRC = Path(__file__).parents[2] / "csrc"
PARTS_MAX = 10

CLASS = re.compile(r"\b(?:class|struct)\s+((?:\w+::)*\w+)(?:\s+final)?(?:\s*:[^{;()]*)?\s*\{")
ALIAS = re.compile(r"\busing\s+(\w+)\s*=\s*([^;]+);")
NO_MEMBER = re.compile(r"^(?:using|friend|static|typedef|enum|template|class|struct|union)\b")
ACCESS = re.compile(r"\b(?:public|protected|private)\s*:(?!:)")


def code_of(path: Path) -> str:
    """A file without what is no code."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
    text = re.sub(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'', '""', text)
    return re.sub(r"^\s*#[^\n]*", "", text, flags=re.MULTILINE)


def end_of(text: str, begin: int) -> int:
    """Behind the brace that closes the one at `begin`."""
    depth = 0
    for at in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return at + 1
    raise AssertionError("a brace stays open")


def classes_of(text: str) -> Iterator[tuple[str, str]]:
    """The name and the body of each class, those within others too."""
    for found in CLASS.finditer(text):
        begin = found.end() - 1
        yield found[1], text[begin + 1 : end_of(text, begin) - 1]


def declarations_of(body: str) -> Iterator[str]:
    """What a class declares itself, each without what stands in braces."""
    flat = ""
    at = 0
    while at < len(body):
        if body[at] == "{":
            # A function ends with its body; a class or an initial value, with the semicolon.
            end = end_of(body, at)
            flat += ";" if re.match(r"\s*[^\s;,]", body[end:]) else "{}"
            at = end
        else:
            flat += body[at]
            at += 1
    for declaration in ACCESS.sub("", flat).split(";"):
        yield " ".join(declaration.split())


def type_of(declaration: str) -> str | None:
    """The type of a member that holds what it names; None: it is none of these."""
    declaration = declaration.partition("=")[0].removesuffix("{}").strip()
    found = re.match(r"(?:mutable |const |alignas\([^)]*\) )*(.*[\w>*&])\s+([\w, ]+)$", declaration)
    if found is None or NO_MEMBER.match(declaration):
        return None
    kind = found[1]
    outside = re.sub(r"<[^<>]*>", "", re.sub(r"<[^<>]*>", "", re.sub(r"<[^<>]*>", "", kind)))
    return None if re.search(r"[()&*]", outside) else kind


def ours_in(kind: str, ours: set[str]) -> bool:
    """Whether a type holds one of ours, and does not only point to it."""
    return any(
        found[1] in ours and not re.match(r"\s*[*&]|\s*const\s*[*&]", kind[found.end() :])
        for found in re.finditer(r"(\w+)", kind)
    )


def parts_of_all() -> dict[str, list[str]]:
    texts = [code_of(path) for path in sorted(CSRC.glob("*/*.[hc]*"))]
    bodies = [found for text in texts for found in classes_of(text)]
    ours = {name.split("::")[-1] for name, _ in bodies}
    aliases = [found for text in texts for found in ALIAS.findall(text)]
    for _ in range(3):
        ours |= {name for name, meaning in aliases if ours_in(meaning, ours)}
    parts: dict[str, list[str]] = {}
    for name, body in bodies:
        held = [one for one in declarations_of(body) if ours_in(type_of(one) or "", ours)]
        if len(held) >= len(parts.get(name, [])):
            parts[name] = held
    return parts


def test_members_are_counted() -> None:
    """What is counted are members that hold something of ours, whatever contains it."""
    code = """
      class Part { int a; };
      class Whole final : public Base {
       public:
        explicit Whole(Part& part) : part_(part) {}
        Part part() const { return one_; }
        static Part make();
        class Inner { Part inner; };
       private:
        using Parts = std::vector<Part>;
        Part& part_;
        const Part* at_ = nullptr;
        std::list<Part*> those_;
        Part one_{&part_};
        std::optional<Part::Id> id_;
        std::map<int, std::unique_ptr<Part>> many_ = make_many(1, 2);
        int count_ = 0;
      };
    """
    bodies = dict(classes_of(code))
    kinds = [kind for one in declarations_of(bodies["Whole"]) if (kind := type_of(one))]
    held = [kind for kind in kinds if ours_in(kind, {"Part", "Whole"})]
    assert held == [
        "Part",
        "std::optional<Part::Id>",
        "std::map<int, std::unique_ptr<Part>>",
    ]


def test_no_class_has_more_than_ten_parts_of_ours() -> None:
    """A class with more than ten objects of ours as members is several classes."""
    parts = parts_of_all()
    assert len(parts) > 300
    assert {name: held for name, held in parts.items() if len(held) > PARTS_MAX} == {}

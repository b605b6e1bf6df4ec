"""A Dockerfile is read as Docker reads it, or refused with the line, the reason and the way out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workshop import resources
from workshop.deploys.builds import words
from workshop.deploys.builds.dockerfile import Copy, Run, Secret, Setting, Unreadable, parse


def test_continued_lines_are_one_instruction() -> None:
    """Comments and empty lines inside one do not count; numbers are of the first line."""
    read = parse(
        "# a comment\n\nFROM a AS One\nRUN echo a \\\n  # not this\n\n  && echo b\\\n\nCMD x\n"
    )

    assert read.stages[0].name == "one"
    assert read.stages[0].steps == (
        Run(4, "RUN echo a   && echo bCMD x", "echo a   && echo bCMD x"),
    )


def test_last_line_with_a_backslash_still_counts() -> None:
    """Docker carries it out, so it is not dropped."""
    assert parse("FROM a\nRUN echo a \\\n").stages[0].steps == (Run(2, "RUN echo a", "echo a"),)


def test_escape_directive_changes_the_end_of_a_line() -> None:
    """With a backtick, a backslash at the end is only a character."""
    read = parse("# escape=`\nFROM a\nRUN echo C:\\\nRUN a `\n b\n")

    assert [step.text for step in read.stages[0].steps] == ["RUN echo C:\\", "RUN a  b"]
    assert read.escape == "`"


def test_byte_order_mark_tabs_and_case_are_tolerated() -> None:
    """Editors on other systems write them."""
    read = parse("\ufefffrom a as b\r\nrun\tls\r\n")

    assert read.stages[0].reference == "a"
    assert read.stages[0].steps == (Run(2, "RUN ls", "ls"),)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('RUN ["a", "b c"]', Run(2, 'RUN ["a", "b c"]', ("a", "b c"))),
        ("RUN [ -f x ]", Run(2, "RUN [ -f x ]", "[ -f x ]")),
        (
            "RUN --mount=type=cache,target=/root/.cache pip x",
            Run(2, "RUN --mount=type=cache,target=/root/.cache pip x", "pip x"),
        ),
        (
            "RUN --mount=type=secret,id=key cat /run/secrets/key",
            Run(
                2,
                "RUN --mount=type=secret,id=key cat /run/secrets/key",
                "cat /run/secrets/key",
                (Secret("key", "/run/secrets/key"),),
            ),
        ),
        (
            "RUN --mount=type=secret,id=key,target=/k,required=true cat /k",
            Run(
                2,
                "RUN --mount=type=secret,id=key,target=/k,required=true cat /k",
                "cat /k",
                (Secret("key", "/k"),),
            ),
        ),
        ("COPY a b c/", Copy(2, "COPY a b c/", ("a", "b"), "c/")),
        ('COPY ["a b", "c"]', Copy(2, 'COPY ["a b", "c"]', ("a b",), "c")),
        (
            "COPY --link --from=one --chown=1:2 --chmod=0755 /a /b",
            Copy(
                2,
                "COPY --link --from=one --chown=1:2 --chmod=0755 /a /b",
                ("/a",),
                "/b",
                owner="1:2",
                mode="0755",
                origin="one",
            ),
        ),
        ("ADD a b", Copy(2, "ADD a b", ("a",), "b", add=True)),
        ("ENV A=1 B='2 3'", Setting(2, "ENV A=1 B='2 3'", "ENV", "A=1 B='2 3'")),
        ("WORKDIR /srv", Setting(2, "WORKDIR /srv", "WORKDIR", "/srv")),
    ],
)
def test_instruction_is_read_into_data(line: str, expected: object) -> None:
    """Flags, lists and words each find their field."""
    assert parse(f"FROM a\n{line}\n").stages[0].steps == (expected,)


def test_what_the_platform_does_itself_is_ignored() -> None:
    """A health check and a maintainer's name change nothing."""
    assert parse("FROM a\nMAINTAINER me\nHEALTHCHECK CMD curl x\n").stages[0].steps == ()


REFUSED = {
    "": "line 1: there is no FROM | begin with FROM ${BASE_IMAGE}",
    "RUN ls": "line 1: RUN stands before FROM | begin with FROM ${BASE_IMAGE}",
    "# syntax=x\nFROM a": "line 1: `# syntax=` would fetch a program that reads the Dockerfile | delete this line; the platform reads Dockerfiles itself",
    "FROM a\nIMPORT b": "line 2: 'IMPORT' is not an instruction | begin each line with one, such as RUN or COPY, and end a line that goes on with \\",
    "FROM a\nRUN": "line 2: RUN says nothing | write what it is for, or delete it",
    "FROM a b c d": "line 1: FROM takes one image | write FROM ${BASE_IMAGE}",
    "FROM a AS ../x": "line 1: '../x' cannot be a name | use letters, digits and -",
    "FROM a\nRUN cat <<EOF\nx\nEOF": "line 2: text between <<EOF and EOF is not supported here | put the text into a file of its own and COPY it, or join commands with &&",
    "FROM a\nCOPY <<-'EOF' /x": "line 2: text between <<EOF and EOF is not supported here | put the text into a file of its own and COPY it, or join commands with &&",
    "FROM a\nONBUILD RUN ls": "line 2: ONBUILD is for images that others build on | write the instruction itself",
    "FROM a\nRUN --network=host ls": "line 2: RUN --network is not supported here | leave it out",
    "FROM a\nRUN --security=insecure ls": "line 2: RUN --security is not supported here | leave it out",
    "FROM a\nRUN --mount=type=bind,target=/x ls": "line 2: RUN --mount=type=bind is not supported here | COPY the files first, then RUN",
    "FROM a\nRUN --mount=type=ssh ls": "line 2: RUN --mount=type=ssh is not supported here | COPY the files first, then RUN",
    "FROM a\nRUN --mount=target=/x ls": "line 2: RUN --mount=type=bind is not supported here | COPY the files first, then RUN",
    "FROM a\nRUN --mount=type=secret,id=a/b ls": "line 2: the secret has no id, or its target is not a path from the root | write RUN --mount=type=secret,id=NAME",
    "FROM a\nRUN --mount=type=secret,id=a,target=../etc ls": "line 2: the secret has no id, or its target is not a path from the root | write RUN --mount=type=secret,id=NAME",
    "FROM a\nADD http://example.org/x /x": "line 2: ADD of an address is not possible: builds reach package sources only | download the file into your project and COPY it",
    "FROM a\nADD 'git@example.org:x' /x": "line 2: ADD of an address is not possible: builds reach package sources only | download the file into your project and COPY it",
    "FROM a\nCOPY x": "line 2: COPY needs what to copy and where to | write COPY app app",
    "FROM a\nCOPY --parents x y": "line 2: COPY --parents is not supported here | leave it out",
    "FROM a\nCOPY --chmod=u+x x y": "line 2: --chmod takes digits | write --chmod=755",
    "FROM a\nENV A=1 B": "line 2: 'B' has no =; put a value with spaces in \"quotes\" | write ENV NAME=value",
    "FROM a\nENV A": "line 2: A has no value; write A=value | write ENV NAME=value",
    "FROM a\nSHELL /bin/bash": 'line 2: SHELL takes a list | write SHELL ["/bin/bash", "-c"]',
    "FROM a\n"
    + "RUN ls\n"
    * 201: "line 201: more than 200 instructions | put several commands into one RUN with &&",
    "FROM a\n" * 21: "line 21: more than 20 FROM | use fewer",
}


@pytest.mark.parametrize("text", REFUSED)
def test_unsupported_line_is_refused_with_the_way_out(text: str) -> None:
    """Every refusal names line, reason and what to write instead."""
    with pytest.raises(Unreadable) as refused:
        parse(text)

    assert f"{refused.value} | {refused.value.way_out}" == REFUSED[text]


@given(st.text(max_size=400) | st.text(alphabet="FROMRUNCPY a\\\n$\"'[]{}<=-#:", max_size=400))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever is sent, there is an answer with a line in it."""
    try:
        read = parse(text)
    except Unreadable as exc:
        assert exc.line >= 1
        assert exc.way_out
    else:
        assert read.stages


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("$A", "one"),
        ("${A}", "one"),
        ("x${A}y", "xoney"),
        ("$AB", ""),
        ("${B:-two}", "two"),
        ("${B:-$A}", "one"),
        ("${B:-${A}x}", "onex"),
        ("${A:-two}", "one"),
        ("${A:+two}", "two"),
        ("${B:+two}", ""),
        ("${E-two}", ""),
        ("${E:-two}", "two"),
        ("${E+two}", "two"),
        ("'$A'", "$A"),
        ('"$A b"', "one b"),
        ("\\$A", "$A"),
        ('"\\$A \\n"', "$A \\n"),
        ("a\\ b", "a b"),
        ("$", "$"),
        ("$1", "$1"),
        ("/opt/bin:$PATH", "/opt/bin:/bin"),
    ],
)
def test_variable_is_put_in_as_docker_does(word: str, expected: str) -> None:
    """Quotes, escapes, defaults and alternatives."""
    assert words.expand(word, {"A": "one", "E": "", "PATH": "/bin"}) == expected


@pytest.mark.parametrize("word", ["${A", "${A:?no}", "${A#x}", "${}", "'a", '"a', "${A}${"])
def test_variable_of_another_form_is_refused(word: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match=r"is not a variable|not closed"):
        words.expand(word, {"A": "one"})


def test_braces_in_braces_end_in_an_answer() -> None:
    """A default of a default of a default ... is bounded."""
    with pytest.raises(ValueError, match="too deeply"):
        words.expand("${A:-" * 50 + "}" * 50, {})


def test_words_split_at_spaces_outside_quotes() -> None:
    """Quotes stay, for the variables in them."""
    assert words.split("a 'b c'  \"d e\" f\\ g") == ["a", "'b c'", '"d e"', "f\\ g"]
    assert words.pairs("A the whole rest") == [("A", "the whole rest")]


def test_every_dockerfile_of_the_product_is_read() -> None:
    """The template, the examples and the platform's own images keep to what is supported."""
    root = resources.participant_template().parent
    found = [
        *root.glob("examples/*/Dockerfile"),
        *root.glob("platform/workshop/images/*/Dockerfile"),
        resources.participant_template() / "Dockerfile",
    ]

    assert len(found) >= 6
    for path in found:
        assert parse(path.read_text("utf-8")).stages, path

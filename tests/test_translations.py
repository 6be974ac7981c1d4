"""The catalogs say all that the library says, in every language, and nothing else."""

import gettext
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import django
import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po
from django.contrib.auth.models import User
from django.template import Context, Template
from django.test import RequestFactory
from django.utils import translation

from tests import messages
from tests.processes import ROOT
from tests.themis.markup import Element, parse
from themis.revisions import COUNT_LIMIT

pytestmark = pytest.mark.once

each_language = pytest.mark.parametrize("language", messages.LANGUAGES)

# A form that is for one number alone, such as Arabic's dual, may leave that number out.
_COUNTS = {"%(counter)s", "%(count)d", "%(days)d", "{count}"}
_PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%[sd]|\{\w+\}")

# What a text may end with where the English one ends so.
_ENDS = {".": ".", ":": ":", "…": "…", "?": "?؟"}

# Django 6.1 has a French form for round millions alone; nothing here counts so far.
_COUNTED = range(COUNT_LIMIT + 1)

Key = tuple[str | None, str]


def read(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file)


def catalog_of(language: str) -> Catalog:
    return read(messages.LOCALE / language / "LC_MESSAGES" / "django.po")


def forms_of(texts: Any) -> tuple[str, ...]:
    """The plural forms of a text; one that has none is its only form."""
    return tuple(texts) if isinstance(texts, tuple | list) else (texts,)


def said_in(catalog: Catalog) -> dict[Key, Message]:
    """The messages by what identifies them: the context and the English text."""
    return {(one.context, forms_of(one.id)[0]): one for one in catalog if one.id}


def used_by(catalog: Catalog) -> list[int]:
    """Which plural form each number has that is counted here, named by its first."""
    form_of: Callable[[int], int] = gettext.c2py(catalog.plural_expr)
    forms = [form_of(count) for count in _COUNTED]
    return [forms.index(form) for form in forms]


def spoken(catalog: Catalog, message: Message) -> list[str]:
    """The forms of a text that numbers have which are counted here."""
    forms = forms_of(message.string)
    if not message.pluralizable:
        return [*forms]
    form_of: Callable[[int], int] = gettext.c2py(catalog.plural_expr)
    return [forms[form_of(count)] for count in sorted(set(used_by(catalog)))]


def pairs_of(language: str) -> Iterator[tuple[Message, int | None, str]]:
    """Each message with each of its translated forms, and the number of the form."""
    for message in said_in(catalog_of(language)).values():
        forms = forms_of(message.string)
        for number, text in enumerate(forms):
            yield message, number if message.pluralizable else None, text


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The catalogs as `make messages` would leave them."""
    return messages.extract(tmp_path_factory.mktemp("messages"))


@each_language
def test_the_catalog_has_what_the_sources_say(
    language: str, extracted: dict[str, Path]
) -> None:
    """After a change of a text: `make messages`, translate, `make messages`."""
    now, then = said_in(read(extracted[language])), said_in(catalog_of(language))
    assert now.keys() - then.keys() == set(), "missing in the catalog"
    assert then.keys() - now.keys() == set(), "said nowhere any more"
    for key in now:
        assert now[key].id == then[key].id


@each_language
def test_all_is_translated(language: str) -> None:
    catalog = catalog_of(language)
    assert len(catalog) > 100
    assert not catalog.obsolete
    assert not catalog.fuzzy
    assert not [message.id for message in catalog if message.fuzzy]
    for message in said_in(catalog).values():
        forms = forms_of(message.string)
        assert len(forms) == (catalog.num_plurals if message.pluralizable else 1)
        assert all(text.strip() for text in forms), message.id


@each_language
def test_the_plural_forms_are_those_of_django(language: str) -> None:
    theirs = read(_django() / f"conf/locale/{language}/LC_MESSAGES/django.po")
    ours = catalog_of(language)
    assert ours.num_plurals == {"ar": 6, "de": 2, "fr": 2}[language]
    assert used_by(ours) == used_by(theirs)


@each_language
def test_placeholders_are_kept(language: str) -> None:
    form_of: Callable[[int], int] = gettext.c2py(catalog_of(language).plural_expr)
    uses = [form_of(count) for count in range(200)]
    for message, number, text in pairs_of(language):
        wanted = set(_PLACEHOLDER.findall(forms_of(message.id)[-1]))
        found = set(_PLACEHOLDER.findall(text))
        may_lack = _COUNTS if number is not None and uses.count(number) == 1 else set()
        assert found <= wanted, (message.id, text)
        assert wanted - found <= may_lack, (message.id, text)


@each_language
def test_texts_keep_the_shape_of_the_english_ones(language: str) -> None:
    """Their tags, and the sign at their end; nothing around them."""
    for message, _number, text in pairs_of(language):
        source = forms_of(message.id)[-1]
        assert text == text.strip(), text
        assert re.findall("<[^>]+>", text) == re.findall("<[^>]+>", source), text
        for end, allowed in _ENDS.items():
            assert source.endswith(end) == text.endswith(tuple(allowed)), text


@each_language
def test_the_compiled_catalog_is_the_same(language: str) -> None:
    """After a change of a translation: `make messages`."""
    path = messages.LOCALE / language / "LC_MESSAGES" / "django.mo"
    with path.open("rb") as file:
        # Babel's reader mixes bytes into the contexts.
        found: Any = gettext.GNUTranslations(file)
    compiled: dict[Any, str] = dict(found._catalog)
    compiled.pop("")
    source: dict[Any, str] = {}
    for message, number, text in pairs_of(language):
        key = forms_of(message.id)[0]
        if message.context:
            key = f"{message.context}\x04{key}"
        source[key if number is None else (key, number)] = text
    assert compiled == source


@each_language
def test_texts_that_django_has_too_are_said_as_django_says_them(language: str) -> None:
    """Django merges all catalogs: else the host's own pages would say them so, too."""
    theirs: dict[Key, list[list[str]]] = {}
    where = ("conf/locale", "contrib/admin/locale", "contrib/auth/locale")
    for folder in where:
        catalog = read(_django() / folder / language / "LC_MESSAGES/django.po")
        for key, message in said_in(catalog).items():
            theirs.setdefault(key, []).append(spoken(catalog, message))
    catalog = catalog_of(language)
    ours = said_in(catalog)
    shared = ours.keys() & theirs.keys()
    assert (None, "Save") in shared
    for key in shared:
        assert spoken(catalog, ours[key]) in theirs[key], key


def _django() -> Path:
    return Path(django.__file__).parent


def test_no_text_stands_in_a_script() -> None:
    """They come from templates, which Django translates."""
    for path in (ROOT / "static/themis").glob("*.js"):
        source = path.read_text()
        assert "gettext" not in source, path
        written = re.findall(r'(?:textContent|ariaLabel|title) = "([^"]+)"', source)
        assert not written, path


def _bell_in(language: str) -> Element:
    request: Any = RequestFactory().get("/")
    request.user, _made = User.objects.get_or_create(username="ada")
    template = Template("{% load themis %}{% themis_bell %}")
    with translation.override(language):
        (bell,) = parse(template.render(Context({"request": request}))).find(
            "themis-bell"
        )
    return bell


def _samples(bell: Element, name: str) -> dict[int, str]:
    return {
        int(text.attributes["data-sample"]): text.text
        for text in bell.find("span")
        if text.attributes.get("data-text") == name
    }


@pytest.mark.django_db
@each_language
def test_the_bell_names_the_language_of_its_texts(language: str) -> None:
    """By it the script chooses plural forms, and a screen reader the voice."""
    assert _bell_in(language).attributes["lang"] == language


@pytest.mark.django_db
def test_the_bell_has_a_text_for_each_plural_form() -> None:
    english = _samples(_bell_in("en"), "new")
    assert english[1] == "{count} new notification"
    assert {*english.values()} - {english[1]} == {"{count} new notifications"}
    french = _samples(_bell_in("fr"), "unread")
    assert french[0] == french[1] == "{count} non lue"
    assert french[2] == french[100] == "{count} non lues"
    arabic = _samples(_bell_in("ar"), "new")
    assert arabic[3] == arabic[6]  # from 3 to 10 it is the same
    assert len({*arabic.values()}) == len(arabic) - 1 == 6


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("unread", "name"),
    [
        (1, "الإشعارات، إشعار واحد غير مقروء"),
        (2, "الإشعارات، إشعاران غير مقروءين"),
        (3, "الإشعارات، 3 إشعارات غير مقروءة"),
        (11, "الإشعارات، 11 إشعارًا غير مقروء"),
        (100, "الإشعارات، 100 إشعار غير مقروء"),
    ],
)
def test_arabic_counts_as_arabic_does(unread: int, name: str) -> None:
    template = Template('{% include "themis/bell.html" %}')
    config = {"unread": unread, "poll_interval": 60, "plural_samples": ()}
    with translation.override("ar"):
        bell = parse(template.render(Context({"themis": config})))
    (element,) = bell.find("span", **{"data-themis": "name"})
    assert element.text == name

"""What serve.py takes and gives as JSON: the models that its OpenAPI description is made of."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dataset.ratings import LIMIT
from inference.people import DISLIKE, LIKE, LOVE
from inference.shaped_lists import EVEN
from inference.taste import AS_MEASURED, FOR_PEOPLE
from inference.wishes import WEIGHT

Franchise = Literal["first", "new", "continue", "all"]  # as shaped_lists.FRANCHISE
Share = Annotated[float, Field(ge=0, le=1)]
MAX_TITLES, MAX_TAGS, MAX_K, MAX_TEXT, MAX_WISH = 20_000, 20, 200, 200, 500
Id = Annotated[str, Field(max_length=MAX_TEXT)]
Score = Annotated[float, Field(ge=-LIMIT, le=LIMIT)]
Time = Annotated[float, Field(ge=-1e12, le=1e12)]
Year = Annotated[int, Field(ge=0, le=9999)]


class Error(BaseModel):
    """Why there is no answer."""

    code: str = Field(description="for programs: one word a cause, such as invalid, unknown_title or too_large")
    message: str = Field(description="for people: one sentence with what was found and what to do")


class Page(BaseModel):
    """A page of a title on some site."""

    site: str
    address: str


class Title(BaseModel):
    """A title of the data."""

    subject_id: str
    name: str = Field(description='all its names, separated by " / "')
    tags: list[str]
    year: int | None = Field(description="null where the data do not say")
    type: str = Field(description="what it was made as, such as TV; empty where the data do not say")
    season: str = Field(description="in which it began, as 2014-fall; empty where the data do not say")
    collectors: int = Field(description="how many people had collected it when the run was trained")
    is_new: bool = Field(description="whether nobody in the data had collected it when the run was trained")
    pages: list[Page] = Field(description="where to read about it; empty where ids.tsv does not say")


class Titles(BaseModel):
    """Some titles."""

    titles: list[Title]


class Health(BaseModel):
    """That the server answers."""

    status: str


class Because(BaseModel):
    """A collected title that spoke for a listed one."""

    subject_id: str
    name: str
    share: float = Field(description="of all that the collected titles brought in its favour, from 0 to 1")


class Named(BaseModel):
    """A title by its name."""

    subject_id: str
    name: str


class Listed(Title):
    """A title in a list."""

    score: float = Field(description="comparable within one answer alone")
    because: list[Because] = Field(description="what spoke for it the most, best first; empty unless asked for")
    despite: list[Because] = Field(
        description="disliked titles that spoke against it, the strongest first, with what they took away of what "
        "spoke for it; empty unless asked for"
    )
    after: Named | None = Field(description="the collected title that it goes on from; null where it goes on from none")
    more: int = Field(description="how many further parts of it are not collected; 0 where franchise is all")
    synopsis: str = Field(description="how its summary begins; empty where the data have none")
    says: str = Field(description="the sentence of its summary that is nearest to the wish; empty unless asked for")
    parts: dict[str, float] = Field(description="what the score is the sum of; empty unless asked for")


class Similar(BaseModel):
    """The titles nearest to one, best first."""

    title: Title
    collectors: list[Listed] = Field(description="by who collects them")
    text: list[Listed] = Field(description="by name, tags and summary; empty where the run knows no text of the title")


class ListRequest(BaseModel):
    """What a list is wanted for, and of what."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"titles": ["s1", "s2"], "k": 10}})

    titles: list[Id] = Field(
        [],
        max_length=MAX_TITLES,
        description="subject_id of each collected title; those that the run does not know are counted, and an error if "
        "it knows none; may be empty where there is a wish",
    )
    wish: Annotated[str, Field(max_length=MAX_WISH)] = Field(
        "", description='what is asked for in words, such as "a sad story about robots, no romance"'
    )
    wish_weight: Share = Field(
        WEIGHT, description="what the wish counts: 0 is by the titles alone, 1 by the wish alone"
    )
    scores: dict[Id, Score] = Field(
        {},
        max_length=MAX_TITLES,
        description="how much titles were liked, in spreads of the person's rates: 0 or absent is unrated, the page's "
        f"buttons are {LOVE} (love), {LIKE} (like) and {DISLIKE} (dislike); a run that was trained without rates "
        "leaves out what is disliked, and takes the others alike",
    )
    times: dict[Id, Time] = Field(
        {},
        max_length=MAX_TITLES,
        description="when titles were collected, in seconds; those absent are older than all others, and without any "
        "all are as old",
    )
    exclude: list[Id] = Field(
        [], max_length=MAX_TITLES, description="titles that say nothing of taste and are not listed either"
    )
    taste: float = Field(
        FOR_PEOPLE,
        ge=0,
        le=1,
        description="how much scores count, in steps of a quarter, to the nearest of which others are taken: 0 is what "
        f"they will watch, 1 what they will love, {AS_MEASURED} as the figures of a run are made; where can.taste of "
        "/api/run is false it changes nothing",
    )
    franchise: Franchise = Field(
        "all",
        description="all: the best titles; first: one entry a franchise, its first part that is not collected; new: of "
        "these, nothing of a franchise with a collected title; continue: nothing of any other",
    )
    niche: Share = Field(EVEN, description=f"from 0, what everybody knows, to 1, hidden gems; {EVEN} changes nothing")
    diversity: Share = Field(0.0, description="what being unlike the titles above counts, beside the score")
    min_collectors: int = Field(0, ge=0, le=2**31, description="of a listed title; those of new_titles have none")
    tags: list[Id] = Field([], max_length=MAX_TAGS, description="a listed title has all of them")
    not_tags: list[Id] = Field([], max_length=MAX_TAGS, description="and none of these")
    min_year: Year | None = Field(None, description="with either, titles of an unknown year are not listed")
    max_year: Year | None = None
    types: list[Id] = Field([], max_length=MAX_TAGS, description="what a listed title was made as, one of these")
    season: str = Field("", max_length=100, description="in which a listed title began, as 2014-fall")
    k: int = Field(20, ge=1, le=MAX_K, description="titles in the list")
    new: bool = Field(False, description="whether to fill new_titles: the best of those that nobody had collected")
    why: bool = Field(False, description="whether to say why each title is listed")

    @model_validator(mode="after")
    def _asks_for_something(self) -> "ListRequest":
        if not self.titles and not self.wish.strip():
            raise ValueError("titles and wish are both empty; give one of them")
        return self


class Understood(BaseModel):
    """A wish as it was read."""

    wanted: str
    unwanted: list[str]
    by: Literal["meaning", "words"] = Field(description="words: as they are written, without an encoder of meaning")


class Lists(BaseModel):
    """What is recommended, best first."""

    collected: list[Title] = Field(description="the titles that the lists are made from, disliked ones too")
    excluded: list[Title]
    n_unknown: int = Field(description="ids asked with that are of no title of the run")
    titles: list[Listed] = Field(description="the best of all titles, as filtered")
    new_titles: list[Listed] = Field(description="the best of those that nobody had collected, as filtered")
    wish: Understood | None = Field(None, description="null where nothing is asked for in words")


class UserLists(Lists):
    """What is recommended to a user of the data."""

    user_id: str
    username: str


class Collected(Title):
    """A title of an uploaded list, as it can be asked with."""

    score: float = Field(description="as in scores of a list; 0 where unrated, or where the run uses no rates")
    time: float | None = Field(description="as in times of a list; null where unknown")


class Upload(BaseModel):
    """What an uploaded list holds."""

    format: str
    n_rows: int = Field(description="entries of the file")
    n_unknown: int = Field(description="of them, those that are of no title of the run")
    unknown: list[str] = Field(description="names of those, ten at most")
    collected: list[Collected] = Field(description="the known ones that tell of taste, disliked ones too")
    excluded: list[Title] = Field(
        description="the known ones that do not: wished for; where the run uses no rates, also dropped or rated too low"
    )
    tastes: dict[str, int] = Field(description="of the collected: how many are liked, neutral, disliked and unrated")
    notes: list[str] = Field(description="for people: sentences on what may have been misread; usually none")


class Tag(BaseModel):
    """A tag of the data."""

    name: str
    n_titles: int


class Can(BaseModel):
    """What the run can do."""

    new_titles: bool = Field(description="list titles that nobody had collected")
    text: bool = Field(description="tell titles alike by their text")
    wish: bool = Field(description="list what is asked for in words")
    years: bool = Field(description="choose by year")
    upload: bool = Field(description="read exported lists")
    users: bool = Field(description="list for the users of the data (--users true)")
    rates: bool = Field(description="tell how much a title was liked; else what is disliked is only left out")
    taste: bool = Field(description="list rather what will be watched, or rather what will be loved")


class RunInfo(BaseModel):
    """The run that is served."""

    name: str = Field(description="the folder of its data")
    n_users: int
    n_titles: int
    n_collected: int = Field(description="pairs of a user and a title")
    n_new: int = Field(description="titles that nobody had collected")
    years: tuple[int, int] | None = Field(description="the first and the last")
    types: list[str] = Field(description="what titles were made as, the most frequent first")
    seasons: list[str] = Field(description="in which titles began, as 2014-fall, the newest first")
    tags: list[Tag] = Field(description="those of most titles")
    can: Can
    max_upload_mib: int
    languages: list[str] = Field(description="of the page")

"""The native API over HTTP: jobs, events, pictures, uploads, history, capabilities."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import jsonschema
import numpy as np
import pytest
from fake_painters import Live, pixels_of
from PIL import Image

from sfumato.pictures.pixels import to_data_url
from sfumato.request import Request

ASK = {"prompt": "a red apple", "steps": 3, "seed": 5}


def png(H: int = 16, W: int = 16, colour: Any = (200, 30, 30), mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (W, H), colour).save(file, "PNG")
    return file.getvalue()


def ask(live: Live, **fields: Any) -> dict[str, Any]:
    answer = live.client.post("/v1/jobs", json=ASK | fields)
    assert answer.status_code == 202, answer.text
    return answer.json()


def done(live: Live, job: dict[str, Any]) -> dict[str, Any]:
    events = [*events_of(live.client, job["events"])]
    assert events[-1]["event"] in ("done", "failed", "cancelled")
    return events[-1]["data"]


def events_of(client: httpx.Client, url: str, **headers: str) -> Iterator[dict[str, Any]]:
    with client.stream("GET", url, headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        event: dict[str, Any] = {}
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if name in ("id", "event"):
                event[name] = value
            elif name == "data":
                yield event | {"data": json.loads(value)}
                event = {}


def test_from_asking_to_the_picture(live: Live):
    live.studio.painter.gate.clear()
    answer = live.client.post("/v1/jobs", json=ASK | {"count": 2})
    job = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, job["url"])
    other = ask(live, seed=9, steps=2)
    assert other["position"] in (0, 1)
    assert live.client.get(job["url"]).json()["state"] in ("queued", "running")
    live.studio.painter.gate.set()

    events = [*events_of(live.client, job["events"])]
    names = [event["event"] for event in events]
    assert [name for name in names if name != "step"] == [
        *("queued", "started", "loading", "picture", "picture", "done")
    ]
    numbers = [int(event["id"]) for event in events]
    assert numbers == sorted(set(numbers))
    pictures = events[-1]["data"]["pictures"]
    assert [picture["seed"] for picture in pictures] == [5, 6]
    answer = live.client.get(pictures[1]["url"])
    assert answer.headers["content-type"] == "image/png"
    pixels = np.array(Image.open(io.BytesIO(answer.content)))
    assert np.array_equal(pixels, pixels_of(Request.from_json(ASK | {"seed": 6})))
    recipe = live.client.get(f"{pictures[1]['url']}/recipe").json()
    assert recipe["recipe"].startswith("a red apple\nSteps: 3, ")
    assert recipe["request"]["seed"] == 6

    # What is told of a request asks for the same pictures again.
    again = done(live, ask(live, **live.client.get(job["url"]).json()["request"]))
    assert live.client.get(again["pictures"][1]["url"]).content == answer.content


def test_a_reader_goes_on_where_it_stopped(live: Live):
    job = ask(live)
    done(live, job)
    events = [*events_of(live.client, job["events"])]
    rest = [*events_of(live.client, job["events"], **{"Last-Event-ID": events[-2]["id"]})]
    assert rest == events[-1:]
    live.studio.service._jobs.clear()  # as after a restart
    (last,) = events_of(live.client, job["events"])
    assert (last["event"], last["data"]["id"]) == ("done", job["id"])


def test_steps_have_previews(live: Live):
    live.studio.painter.gate.clear()
    job = ask(live)
    live.studio.painter.pace = 0.02
    steps = []
    for event in events_of(live.client, job["events"]):
        live.studio.painter.gate.set()
        steps += [event["data"]] if event["event"] == "step" else []
    content = steps[-1]["previews"][0].removeprefix("data:image/png;base64,")
    assert Image.open(io.BytesIO(base64.b64decode(content))).size == (2, 2)
    assert (steps[-1]["steps"], steps[-1]["pictures"]) == (3, [0])


def test_a_job_that_has_ended_stays_as_it_is_unless_it_is_forgotten(live: Live):
    job = done(live, ask(live))
    assert live.client.delete(job["url"]).json()["state"] == "done"
    picture = job["pictures"][0]["url"]
    assert live.client.get(picture).status_code == 200
    assert live.client.delete(job["url"], params={"forget": True}).status_code == 200
    assert live.client.get(picture).status_code == 404
    assert live.client.get(job["url"]).status_code == 404
    assert live.client.delete(job["url"]).status_code == 404


def test_pages_of_the_history(live: Live):
    jobs = [done(live, ask(live, seed=i))["id"] for i in range(5)]
    found, url = [], "/v1/jobs?limit=2"
    for _ in range(3):
        page = live.client.get(url).json()
        found += [job["id"] for job in page["jobs"]]
        url = f"/v1/jobs?limit=2&before={page['next']}"
    assert page["next"] is None
    assert found == jobs[::-1]


def test_pictures_come_inline_or_as_uploads(live: Live):
    content = png()
    uploads = [
        live.client.post("/v1/uploads", content=content, headers={"content-type": "image/png"}),
        live.client.post("/v1/uploads", files={"file": ("../x.png", content, "image/png")}),
    ]
    assert [answer.status_code for answer in uploads] == [201, 201]
    upload = uploads[0].json()
    assert uploads[1].json() == upload
    assert (upload["width"], upload["height"]) == (16, 16)
    sent = live.client.get(upload["url"])
    assert np.array_equal(np.array(Image.open(io.BytesIO(sent.content)))[0, 0], [200, 30, 30])

    mask = to_data_url(np.full((16, 16), 255, "uint8"))
    inline = to_data_url(np.full((16, 16, 3), (200, 30, 30), "uint8"))
    for image in (upload["id"], inline):
        job = done(live, ask(live, image=image, mask=mask, strength=0.5, mask_blur=1))
        assert job["state"] == "done"
        assert job["request"]["image"] == upload["id"]
        assert job["request"]["mask"].startswith("upload:")
    made = job["pictures"][0]["id"]
    job = done(live, ask(live, image=f"picture:{made}"))
    assert job["request"]["image"] != upload["id"]
    assert Request.from_json({**job["request"], "image": None}).strength == 0.8


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"steps": -1}, "steps"),
        ({"steps": 10**6}, "steps"),
        ({"steps": 1e309}, None),  # no number of JSON: Infinity
        ({"count": None}, "count"),
        ({"prompt": 5}, "prompt"),
        ({"width": 15}, "width"),
        ({"model": "/etc/passwd"}, "model"),
        ({"sampler": "none such"}, "sampler"),
        ({"wildcards": "/etc"}, "wildcards"),
        ({"image": "/etc/passwd"}, "image"),
        ({"image": "https://example.com/x.png"}, "image"),
        ({"image": "upload:../../etc/passwd"}, "image"),
        ({"image": "data:image/png;base64,AAAA"}, "image"),
        ({"image": {"a": 1}}, "image"),
        ({"mask": "data:image/png;base64,AAAA"}, "mask"),
        ({"unknown": 1}, "Request"),
        ({"strength": 0.5}, "image"),
    ],
)
def test_what_cannot_be_is_refused_by_name(live: Live, fields: dict[str, Any], field: str | None):
    body = json.dumps(ASK | fields)
    answer = live.client.post(
        "/v1/jobs", content=body, headers={"content-type": "application/json"}
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, field)
    assert error["code"] == ("invalid_request" if field else "invalid_json")
    assert error["request_id"] == answer.headers["x-request-id"]
    assert len(live.client.get("/v1/jobs").json()["jobs"]) == 0


def test_a_prompt_must_be_given(live: Live):
    assert live.client.post("/v1/jobs", json={}).json()["error"]["param"] == "prompt"


def test_a_full_queue_says_when_to_come_again(open_live: Callable[..., Live]):
    live = open_live(queue=1)
    live.fill()
    refused = live.client.post("/v1/jobs", json=ASK)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    assert refused.json()["error"]["code"] == "queue_full"


def test_failures_have_their_status_in_the_job(live: Live):
    def trouble(requests):
        raise MemoryError("/secret")

    live.studio.painter.trouble = trouble
    job = done(live, ask(live))
    assert (job["state"], job["error"]["code"]) == ("failed", "out_of_memory")
    assert "secret" not in json.dumps(job)


def test_the_recipe_of_a_picture_is_read(live: Live):
    job = done(live, ask(live, guidance=3))
    content = live.client.get(job["pictures"][0]["url"]).content
    answer = live.client.post(
        "/v1/recipes", content=content, headers={"content-type": "image/png"}
    ).json()
    assert answer["recipe"].startswith("a red apple\nSteps: 3")
    assert (answer["request"]["guidance"], answer["request"]["seed"]) == (3.0, 5)
    assert answer["unread"].keys() <= {"RNG", "Version"}
    again = done(live, ask(live, **answer["request"]))
    assert live.client.get(again["pictures"][0]["url"]).content == content
    answer = live.client.post("/v1/recipes", files={"file": ("x.png", png(), "image/png")})
    assert answer.status_code == 404


def test_capabilities_say_all_that_a_page_needs(live: Live):
    found = live.client.get("/v1/capabilities").json()
    assert [model["name"] for model in found["models"]] == ["fake"]
    assert found["models"][0]["default"]
    assert "dpmpp_2m" in [sampler["name"] for sampler in found["samplers"]]
    assert "karras" in [schedule["name"] for schedule in found["schedules"]]
    assert found["limits"]["max_steps"] == 150
    jsonschema.Draft202012Validator.check_schema(found["request"])
    jsonschema.validate(ASK, found["request"])


def test_the_description_of_the_api_has_the_schema_of_a_request(live: Live):
    found = live.client.get("/openapi.json").json()
    assert found["components"]["schemas"]["Request"] == Request.schema()
    body = found["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"]["$ref"] == "#/components/schemas/Request"


def test_a_server_has_its_way_with_unsafe_pictures(open_live: Callable[..., Live]):
    for own, wanted in (("off", ("off", "flag", "blur")), ("flag", ("flag", "flag", "blur"))):
        live = open_live(safety=own)
        for asked, safety in zip(("off", "flag", "blur"), wanted, strict=True):
            (picture,) = done(live, ask(live, safety=asked))["pictures"]
            assert picture["request"].get("safety", "off") == safety

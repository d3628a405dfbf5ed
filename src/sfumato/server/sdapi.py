"""A1111's API, as far as its clients use it, and stable-diffusion.cpp's way of speaking it.

Its clients count on some state of the server: the model that was chosen, the picture that is being
painted. A server has many clients, so both are kept for each of them, by its address.
"""

from __future__ import annotations

import base64
import json
import time
from collections import OrderedDict
from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi import Request as HttpRequest
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from sfumato import __version__
from sfumato.pictures.pixels import DATA_URL
from sfumato.server import sdapi_lists, sdapi_order, wire
from sfumato.server.errors import ApiError
from sfumato.server.jobs import RUNNING, Job
from sfumato.server.native import Client, Serving, Values
from sfumato.server.sdapi_order import find_model, model_of, request_of
from sfumato.server.service import Service
from sfumato.server.wire import Json

router = APIRouter(prefix="/sdapi/v1", tags=["A1111"])

CLIENTS = 1000
"""Clients whose model is remembered."""
FIELDS = wire.body_of(sdapi_order.schema(sdapi_lists.DEFAULTS))
BEGUN = wire.body_of(sdapi_order.schema((*sdapi_lists.DEFAULTS, "init_images", "mask")))
OPTIONS = wire.body_of(
    {"type": "object", "properties": {"sd_model_checkpoint": {"type": "string"}}}
)
PICTURES = {"init_images", "mask", "image", "latent_mask", "alwayson_scripts"}
"""Fields that are not told back."""


def chosen(http: HttpRequest) -> OrderedDict[str, str]:
    """The models that clients have chosen, by their address."""
    state = http.app.state
    if not hasattr(state, "chosen"):
        state.chosen = OrderedDict()
    return state.chosen


# Pictures


@router.post("/txt2img", openapi_extra=FIELDS, response_class=Json)
async def txt2img(http: HttpRequest, values: Values, service: Serving, client: Client) -> Response:
    """Make pictures of a prompt."""
    return await paint(http, values, service, client, begins=False)


@router.post("/img2img", openapi_extra=BEGUN, response_class=Json)
async def img2img(http: HttpRequest, values: Values, service: Serving, client: Client) -> Response:
    """Paint a picture again: all of it, or where the mask is white."""
    return await paint(http, values, service, client, begins=True)


async def paint(
    http: HttpRequest, values: dict[str, Any], service: Service, client: str, begins: bool
) -> Response:
    current = chosen(http).get(client)

    def submit() -> Job:
        service.check_room()
        model = model_of(values, service, current)
        return service.submit(request_of(values, service, begins), client, model)

    job = await run_in_threadpool(submit)
    try:
        await wire.finished(job, http, service)
    except ApiError as error:
        # A client that interrupts its own request wants what there is of it.
        if error.code != "cancelled" or not job.pictures:
            raise
    return Json(await run_in_threadpool(answer, job, values, service))


def answer(job: Job, values: dict[str, Any], service: Service) -> dict[str, Any]:
    """The pictures of a job, and what they were made from, which is text in JSON."""
    paths = [service.history.picture(each["id"]) for each in job.pictures]
    images = [base64.b64encode(path.read_bytes()).decode() for path in paths if path is not None]
    known = {*sdapi_lists.DEFAULTS, "override_settings", "sampler_index"} - PICTURES
    return {
        "images": images if values.get("send_images", True) else [],
        "parameters": {name: value for name, value in values.items() if name in known},
        "info": json.dumps(info(job)),
    }


def info(job: Job) -> dict[str, Any]:
    """What pictures were made from, in A1111's words."""
    request, pictures = job.request, job.pictures
    count = len(pictures)
    negative = request.negative_prompt or ""
    return {
        "prompt": request.prompt,
        "all_prompts": [each["request"]["prompt"] for each in pictures],
        "negative_prompt": negative,
        "all_negative_prompts": [negative] * count,
        "seed": pictures[0]["seed"] if pictures else request.seed,
        "all_seeds": [each["seed"] for each in pictures],
        "subseed": request.variation_seed or 0,
        "all_subseeds": [each["request"].get("variation_seed", 0) for each in pictures],
        "subseed_strength": request.variation_strength,
        "width": pictures[0]["width"] if pictures else request.width,
        "height": pictures[0]["height"] if pictures else request.height,
        "sampler_name": sdapi_lists.label_of(request.sampler),
        "cfg_scale": request.guidance,
        "steps": request.steps,
        "batch_size": count,
        "restore_faces": False,
        "sd_model_name": job.model,
        "sd_model_hash": "",
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "denoising_strength": request.strength,
        "extra_generation_params": {},
        "index_of_first_image": 0,
        "infotexts": [each["recipe"] for each in pictures],
        "styles": [],
        "job_timestamp": time.strftime("%Y%m%d%H%M%S", time.gmtime(job.created)),
        "clip_skip": request.clip_skip,
        "is_using_inpainting_conditioning": False,
        "version": f"Sfumato {__version__}",
    }


# What goes on


@router.get("/progress", response_class=Json)
def progress(service: Serving, client: Client, skip_current_image: bool = False) -> Response:
    """How far the client's own request is."""
    jobs = [job for job in service.live() if job.client == client]
    job = next((job for job in jobs if job.state == RUNNING), None)
    step: dict[str, Any] = {"step": 0, "steps": 0, "pictures": [], "previews": []}
    part = left = 0.0
    if job is not None:
        job.wants_previews = job.wants_previews or not skip_current_image
        step, part = job.step or step, job.progress
        left = (time.time() - (job.started or 0)) * (1 / part - 1) if part else 0.0
    state = {
        "skipped": bool(job and job.skipped.intersection(step["pictures"])),
        "interrupted": False,
        "stopping_generation": False,
        "job": job.id if job else "",
        "job_count": len(jobs),
        "job_timestamp": "0",
        "job_no": 0,
        "sampling_step": step["step"],
        "sampling_steps": step["steps"],
    }
    previews = step["previews"] if not skip_current_image else []
    return Json(
        {
            "progress": part,
            "eta_relative": left,
            "state": state,
            "current_image": previews[0].removeprefix(DATA_URL) if previews else None,
            "textinfo": None,
        }
    )


@router.post("/skip", response_class=Json)
def skip(service: Serving, client: Client) -> Response:
    """Leave out the pictures that are painted for this client now, and go on with the next."""
    for job in service.running():
        if job.client == client:
            job.skip()
    return Json({})


@router.post("/interrupt", response_class=Json)
def interrupt(service: Serving, client: Client) -> Response:
    """Stop what is painted for this client; what waits goes on."""
    for job in service.running():
        if job.client == client:
            service.cancel(job)
    return Json({})


@router.get("/options", response_class=Json)
def options(http: HttpRequest, service: Serving, client: Client) -> Response:
    """The settings that clients read."""
    model = chosen(http).get(client) or service.settings.default_model
    return Json(sdapi_lists.OPTIONS | {"sd_model_checkpoint": model})


@router.post("/options", openapi_extra=OPTIONS, response_class=Json)
def set_options(http: HttpRequest, values: Values, service: Serving, client: Client) -> Response:
    """Choose the model for this client; other settings are let pass."""
    if values.get("sd_model_checkpoint") is not None:
        models = chosen(http)
        models[client] = find_model(values["sd_model_checkpoint"], service)
        models.move_to_end(client)
        while len(models) > CLIENTS:
            models.popitem(last=False)
    return Json({})


@router.post("/refresh-checkpoints", response_class=Json)
def refresh() -> Response:
    """Nothing: the models are named when the server starts."""
    return Json({})


# Lists

Named: Any = Path(json_schema_extra={"enum": [*sdapi_lists.OWN, *sdapi_lists.LISTS]})


@router.get("/sd-models", response_class=Json)
def models(service: Serving) -> Response:
    """The models by the titles that options and requests may say."""
    return Json([sdapi_lists.model(name) for name in service.settings.models])


@router.get("/memory", response_class=Json)
def memory() -> Response:
    """The memory of the process and of the machine, in bytes."""
    return Json(sdapi_lists.memory())


@router.get("/{name}", response_class=Json)
def lists(name: Annotated[str, Named], service: Serving) -> Response:
    """What there is of a kind; much that others have is empty here."""
    if own := sdapi_lists.OWN.get(name):
        return Json(own(service.adapters))
    found = sdapi_lists.LISTS.get(name)
    if found is None:
        raise ApiError("not_found", "There is no such path.")
    return Json(found())

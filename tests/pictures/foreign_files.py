"""What other programs write into their pictures, in its true structure, and what it says."""

from __future__ import annotations

import json
from typing import Any

NAI_COMMENT: dict[str, Any] = json.loads(
    r"""
{"prompt": "{{red}} apple (small), [leaf]", "steps": 28, "height": 1216, "width": 832,
 "scale": 5.0, "uncond_scale": 1.0, "cfg_rescale": 0.0, "seed": 3816166865, "n_samples": 1,
 "hide_debug_overlay": false, "noise_schedule": "native", "sampler": "k_euler_ancestral",
 "controlnet_strength": 1.0, "controlnet_model": null, "dynamic_thresholding": false,
 "sm": true, "sm_dyn": false, "dynamic_thresholding_percentile": 0.999,
 "skip_cfg_below_sigma": 0.0, "strength": 0.7, "noise": 0.2, "lora_unet_weights": null,
 "uc": "{bad}, lowres", "request_type": "PromptGenerateRequest", "signed_hash": "c29tZQ=="}
"""
)
NOVELAI: dict[str, Any] = json.loads(
    r"""
{"Title": "AI generated image", "Description": "{{red}} apple (small), [leaf]",
 "Software": "NovelAI", "Source": "Stable Diffusion XL C1E1DE52"}
"""
)
NOVELAI["Comment"] = json.dumps(NAI_COMMENT)

INVOKEAI: dict[str, Any] = json.loads(
    r"""
{"app_version": "3.3.0post3", "generation_mode": "txt2img", "positive_prompt": "a red++ cat",
 "negative_prompt": "blurry", "width": 768, "height": 432, "seed": 356120443,
 "rand_device": "cpu", "cfg_scale": 7.5, "steps": 50, "scheduler": "dpmpp_2m_sde_k",
 "clip_skip": 1, "controlnets": [], "ipAdapters": [], "t2iAdapters": [],
 "model": {"model_name": "dreamshaper", "base_model": "sd-1", "model_type": "main"},
 "vae": {"model_name": "sd-vae-ft-mse", "base_model": "sd-1"},
 "loras": [{"lora": {"model_name": "detail", "base_model": "sd-1"}, "weight": 0.75}]}
"""
)
INVOKEAI_2: dict[str, Any] = json.loads(
    r"""
{"model": "stable diffusion", "model_weights": "analog", "model_hash": "a9a1c908",
 "app_id": "invoke-ai/InvokeAI", "app_version": "v2.2.4",
 "image": {"prompt": [{"prompt": "a lake [boats, fog]", "weight": 1}], "steps": 50,
  "cfg_scale": 12, "threshold": 0, "perlin": 0, "height": 768, "width": 512, "seed": 2502935700,
  "seamless": false, "hires_fix": false, "type": "txt2img", "postprocessing": null,
  "sampler": "k_euler_a", "variations": []}}
"""
)

FOOOCUS: dict[str, Any] = json.loads(
    r"""
{"adm_guidance": "(1.5, 0.8, 0.3)", "base_model": "juggernautXL_v8", "vae": "Default (model)",
 "base_model_hash": "aeb7e9e6", "clip_skip": 2, "guidance_scale": 4, "sharpness": 2,
 "lora_combined_1": "offset : 0.1", "loras": [["offset", 0.1, "4852686128"]],
 "metadata_scheme": "fooocus", "negative_prompt": "", "performance": "Speed",
 "prompt": "a cat", "full_prompt": ["cinematic still a cat . film", "a cat, sharp"],
 "full_negative_prompt": ["anime, cartoon"], "prompt_expansion": "a cat, sharp",
 "refiner_model": "None", "refiner_switch": 0.5, "resolution": "(1152, 896)",
 "sampler": "dpmpp_2m_sde_gpu", "scheduler": "karras", "seed": "7081370543", "steps": 30,
 "styles": "['Fooocus V2']", "version": "Fooocus v2.5.5"}
"""
)
FOOOCUS_TEXT = (
    "cinematic still a cat\nNegative prompt: anime\nSteps: 30, Sampler: DPM++ 2M SDE Karras, "
    "Seed: 7081370543, Size: 1152x896, CFG scale: 4, Sharpness: 2, "
    'ADM Guidance: "(1.5, 0.8, 0.3)", Model: juggernautXL_v8, Model hash: aeb7e9e6, '
    "Performance: Speed, Scheduler: karras, VAE: Default (model), Raw prompt: a cat, "
    "Raw negative prompt: , Version: Fooocus v2.5.5"
)

SWARMUI_PARAMS: dict[str, Any] = json.loads(
    r"""
{"prompt": "a (red:1.3) cat", "model": "Official/sd_xl_base_1.0", "seed": 1, "steps": "20.0",
 "cfgscale": 7.0, "aspectratio": "1:1", "width": 1024, "height": 1024, "automaticvae": true,
 "negativeprompt": "", "swarm_version": "0.9.3.1", "loras": ["a/detail"],
 "loraweights": ["0.5"], "refinerupscale": 1.5}
"""
)
SWARMUI = {"sui_image_params": SWARMUI_PARAMS, "sui_extra_data": {"date": "2024-11-13"}}

SDNEXT_TEXT = (
    "a cat\nNegative prompt: fog\nSteps: 30, Size: 832x1216, Sampler: DPM++ 2M, "
    "Seed: 3873706916, CFG scale: 6, CFG rescale: 0.7, Model: XL_v24, Model hash: 07b985d12f, "
    "App: SD.Next, Version: cb0eb55, Backend: Diffusers, Pipeline: StableDiffusionXLPipeline, "
    "Parser: native, Operations: txt2img, Sampler sigma: karras"
)
SDCPP_TEXT = (
    "a cat\nNegative prompt: fog\nSteps: 20, CFG scale: 7.000000, Guidance: 3.500000, "
    "Eta: 0.000000, Seed: 42, Size: 512x512, Model: v1-5.safetensors, RNG: cuda, "
    "Sampler: euler_a karras, Version: stable-diffusion.cpp"
)


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    """A node of ComfyUI's graph."""
    return {"class_type": class_type, "inputs": inputs}


def comfyui() -> dict[str, dict[str, Any]]:
    """ComfyUI's standard graph, with what people often add to it."""
    return json.loads(json.dumps(_COMFYUI))


_COMFYUI = {
    "3": node(
        "KSampler",
        seed=156680208700286,
        steps=20,
        cfg=8.0,
        denoise=1.0,
        sampler_name="euler_ancestral",
        scheduler="normal",
        model=["10", 0],
        positive=["6", 0],
        negative=["7", 0],
        latent_image=["5", 0],
    ),
    "4": node("CheckpointLoaderSimple", ckpt_name="sd15\\v1-5.safetensors"),
    "5": node("EmptyLatentImage", width=512, height=768, batch_size=1),
    "6": node("CLIPTextEncode", text="a (red:1.2) [small] cat", clip=["11", 0]),
    "7": node("CLIPTextEncode", text="watermark", clip=["11", 0]),
    "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
    "9": node("SaveImage", filename_prefix="ComfyUI", images=["8", 0]),
    "10": node(
        "LoraLoader",
        lora_name="detail.safetensors",
        strength_model=0.8,
        strength_clip=0.8,
        model=["4", 0],
    ),
    "11": node("CLIPSetLastLayer", stop_at_clip_layer=-2, clip=["4", 1]),
}

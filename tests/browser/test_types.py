"""The options that macros emit, judged by @openai/chatkit's own types under tsc."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from flask import render_template_string

from flask_chatkit import ChatKit
from flask_chatkit.options.translations import LOCALES
from flask_chatkit.options.values import ICONS
from tests.helpers.sites import MakeApp

IMPORT = '{% from "chatkit/macros.html" import chatkit_floating, chatkit_inline, chatkit_themed %}'

CALLS = [
    "chatkit_floating()",
    "chatkit_floating(side='left', label='Help', greeting='Hi', title='Shop')",
    "chatkit_inline(theme='auto')",
    "chatkit_inline(theme='light', accent='#0a7', radius='round', density='compact')",
    "chatkit_inline(theme={'color_scheme': 'dark', 'primaryColor': 'teal', 'borderRadius': '8px'})",
    "chatkit_inline(background='#fff', base_size=16, font_family='Inter', font_family_mono='Fira')",
    (
        "chatkit_inline(font_sources=[{'family': 'Inter', 'src': '/i.woff2', 'weight': 400,"
        " 'style': 'italic', 'display': 'swap', 'unicode_range': 'U+0-FF'}])"
    ),
    "chatkit_inline(grayscale={'hue': 220, 'tint': 6, 'shade': -4})",
    (
        "chatkit_inline(theme={'color': {'accent': {'primary': '#0a7', 'level': 3},"
        " 'surface': {'background': '#fff', 'foreground': '#111'}}})"
    ),
    (
        "chatkit_inline(prompts=['One', {'label': 'Two', 'prompt': '2nd', 'icon': 'lucide:truck'},"
        " {'label': 'Three', 'prompt': [{'type': 'input_text', 'text': 'x'}]}])"
    ),
    "chatkit_inline(header=False, history=False, feedback=True, retry=True, auto_scroll=True)",
    (
        "chatkit_inline(header={'title': {'text': 'T'}}, history={'show_delete': True,"
        " 'show_rename': False})"
    ),
    "chatkit_inline(title=False, disclaimer='May err', placeholder='Ask', initial_thread=None)",
    "chatkit_inline(disclaimer={'text': 'x', 'high_contrast': True}, initial_thread='cthr_1')",
    "chatkit_inline('files')",
    (
        "chatkit_inline('files', attachments={'max_size': {'image/*': 5, '*': 1}, 'max_count': 2,"
        " 'accept': {'image/png': ['.png']}})"
    ),
    "chatkit_inline('files', enableFileUpload=True, acceptedFileTypes=['image/*'], maxFileSize=9)",
    "chatkit_inline(attachments=False, entities={'show_composer_menu': False}, commands=True)",
    "chatkit_inline(welcomeMessage='Hi', frame_title='Support', locale='pt_BR')",
    "chatkit_inline(options={'startScreen': {'greeting': 'A'}, 'thread': {'autoScroll': True}})",
    "chatkit_themed('sales', accent={'primary': 'rgb(0 0 0)', 'level': 0}, radius='pill')",
]


def emitted(make_app: MakeApp) -> list[dict[str, Any]]:
    kit = ChatKit()
    kit.add_hosted("sales", "wf_standin", widget={"greeting": "Welcome"})
    kit.add_hosted("files", "wf_standin", file_upload={"max_file_size": 2}, history=False)
    calls = [
        *CALLS,
        *(f"chatkit_inline(locale='{locale}')" for locale in LOCALES),
        *(f"chatkit_inline(prompts=[{{'label': 'x', 'icon': '{i}'}}])" for i in sorted(ICONS)),
    ]
    with make_app(kit).test_request_context("/"):
        html = render_template_string(IMPORT + "".join("{{ " + call + " }}" for call in calls))
    found = re.findall(r"data-chatkit='([^']*)'", html)
    assert len(found) == len(calls)
    return [json.loads(config)["options"] for config in found]


def tsc(node_modules: Path, folder: Path, options: list[dict[str, Any]]) -> str:
    lines = [
        "import type { ChatKitOptions } from '@openai/chatkit';",
        "declare const api: { getClientSecret: (c: string | null) => Promise<string> };",
        *(
            f"export const o{n}: ChatKitOptions = {{api, {json.dumps(o)[1:-1]}}};"
            for n, o in enumerate(options)
        ),
    ]
    (folder / "sample.ts").write_text("\n".join(lines), "utf-8")
    (folder / "node_modules").symlink_to(node_modules)
    (folder / "tsconfig.json").write_text(
        json.dumps(
            {
                "compilerOptions": {
                    "strict": True,
                    "noEmit": True,
                    "module": "esnext",
                    "moduleResolution": "bundler",
                    "target": "es2022",
                    "types": [],
                    "exactOptionalPropertyTypes": True,
                },
                "files": ["sample.ts"],
            }
        )
    )
    done = subprocess.run(
        [str(node_modules / ".bin" / "tsc"), "-p", "."],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.stdout + done.stderr


def test_emitted_options_are_of_openais_types(
    make_app: MakeApp, node_modules: Path, tmp_path: Path
) -> None:
    """A wide sample of macro calls, each locale and icon among them, satisfies ChatKitOptions."""
    assert tsc(node_modules, tmp_path, emitted(make_app)) == ""


def test_the_judge_can_say_no(node_modules: Path, tmp_path: Path) -> None:
    """The same check refuses options that are wrong, so its silence means something."""
    told = tsc(node_modules, tmp_path, [{"startScreen": {"greating": "x"}}, {"locale": "xx"}])
    assert "o0" in told or "greating" in told
    assert told.count("error TS") == 2

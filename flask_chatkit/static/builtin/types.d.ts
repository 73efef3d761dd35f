// The types of what the modules pass to each other.

import type { Ground } from "./widgets/colours.js";

/** The words of the chat: key → text. */
export type Strings = (typeof import("../lang/en.json"))["chat"];

/** An item of a thread, as the server has it. */
export interface Item {
  id: string;
  type: string;
  [key: string]: any;
}

/** A thread, as the server has it. */
export interface Thread {
  id: string;
  title?: string | null;
  created_at?: string;
  status?: { type: string; reason?: string | null };
  allowed_image_domains?: string[];
}

/** A component of a widget. */
export interface Component {
  type: string;
  id?: string;
  [key: string]: any;
}

/** An action of a widget. */
export interface Action {
  type: string;
  payload?: Record<string, any>;
  handler?: "server" | "client";
  loadingBehavior?: "auto" | "none" | "self" | "container";
  /** False for a call that is answered by one item. */
  streaming?: boolean;
}

export interface Attachment {
  id: string;
  name: string;
  type?: string;
  [key: string]: any;
}

/** A call to the server that it answers by a stream. */
export interface Request {
  type: string;
  params: Record<string, any>;
  /** The id that the visitor's message has until the server gives it one. */
  sent?: string;
  /** Of an answer that another page has begun: whether this tab has, and whether to ask for it. */
  resumes?: { isOwn: boolean; polls?: boolean };
  /** What it was made of. */
  message?: Message;
  metadata?: Record<string, any>;
  /** The entries that its answer replaces. */
  old?: Entry[];
}

/** An answer that is coming in. */
export interface Run {
  abort: AbortController;
  canStop: boolean;
  /** Whether anything has arrived. */
  got: boolean;
  request: Request | null;
  /** The thread, once it is known. */
  thread: string | null;
  /** Whether the answer goes on when the request ends; undefined as long as that is not known. */
  outlives?: boolean;
  /** The id of the answer, if it does. */
  answer?: string;
  isStopped?: boolean;
  /** How often the connection was lost since something has arrived. */
  losses: number;
  /** Whether the thread is to be loaded at the end. */
  reloads?: boolean;
  /** The ids of the items that came. */
  started: Set<string>;
  /** Whether it has ended with an error. */
  failed?: boolean;
  /** The visitor's message that it answers, and the id that this has until the server gives one. */
  message?: Message;
  sent?: string;
  /** Whether its message is in the composer again. */
  returned?: boolean;
  /** The entries that it replaces: before it has begun, and after. */
  old?: Entry[];
  gone?: Entry[];
  /** What the server does meanwhile. */
  progress?: any;
  /** Whether a client tool runs. */
  calling?: boolean;
}

/** An item, and what shows it. */
export interface Entry {
  item: Item;
  /** Whether more of it is coming. */
  streaming: boolean;
  /** The ids of the components that changed; null for all. */
  changed: Set<string> | null;
  row: HTMLElement | null;
  body: HTMLElement | null;
  /** The buttons below it. */
  bar: HTMLElement | null;
  context: DrawContext | null;
}

/** What drawing an item needs. */
export interface DrawContext {
  text: Strings;
  /** That `text` is in. */
  language: string;
  /** Of the item. */
  id: string;
  dark: boolean;
  /** The theme of the chat. */
  theme: Theme;
  streaming: boolean;
  /** Whether it has just come, and is no past conversation. */
  fresh: boolean;
  /** An element in the chat's shadow, which has its colours. */
  host: Element;
  /** What a part of a widget stands on. */
  ground: Ground;
  /** The labels of a widget's fields: name → text. */
  labels: Map<string, string>;
  /** The parts of a widget, by their ids. */
  parts: Map<string, { node: any; component: Component; context: DrawContext }>;
  markdown(node: Element, markdown: string): void;
  /** Whether what the visitor sent can be had again. */
  opensFiles?: boolean;
  /** What shows the item so far. */
  shown: any;
  /** Draw the item anew, when what draws it has come. */
  redraw(): void;
  act(action: Action, control: any, values?: Record<string, any>, form?: any): void;
  answer(item: Item, input: Record<string, any>): void;
  /** Draws a mention. */
  tag(part: any): string | Node;
}

/** A file in the composer. */
export interface HeldFile {
  name: string;
  /** None if the page put a finished attachment there. */
  file?: File;
  state?: "busy" | "done" | "failed";
  attachment?: Attachment;
  abort?: AbortController;
}

/** What is sent. */
export interface Message {
  content: any[];
  attachments: Attachment[];
  quote?: string | null;
  tool?: string;
  model?: string;
  /** The files in the composer that the attachments are of. */
  files?: HeldFile[];
  /** The id of the visitor's message that it replaces. */
  replaces?: string;
}

export interface Theme {
  colorScheme?: "light" | "dark";
  color?: any;
  typography?: any;
  radius?: string;
  density?: string;
}

export interface Api {
  url: string;
  fetch?: typeof fetch;
  uploadStrategy?: { type: "direct"; uploadUrl: string } | { type: "two_phase" };
}

export interface AttachmentOptions {
  enabled?: boolean;
  maxCount?: number;
  /** Bytes, for all or by MIME type. */
  maxSize?: number | Record<string, number>;
  /** MIME type → extensions. */
  accept?: Record<string, string[]>;
}

export interface Choice {
  id: string;
  label: string;
  disabled?: boolean;
}

export interface ComposerOptions {
  placeholder?: string;
  attachments?: AttachmentOptions;
  tools?: (Choice & {
    icon?: string;
    shortLabel?: string;
    placeholderOverride?: string;
    pinned?: boolean;
    persistent?: boolean;
  })[];
  models?: (Choice & { description?: string; default?: boolean })[];
  dictation?: { enabled: boolean };
}

/** What can be mentioned. */
export interface Entity {
  id: string;
  title: string;
  icon?: string;
  interactive?: boolean;
  group?: string;
  data?: Record<string, any>;
}

/** What can be done with a word behind a slash. */
export interface Command {
  id: string;
  label: string;
  description?: string;
  icon?: string;
  group?: string;
  /** Of one of the composer's own. */
  run?: () => unknown;
}

/** ChatKit's options, as far as this chat uses them. */
export interface Options {
  api: Api;
  locale?: string;
  theme?: "light" | "dark" | Theme;
  initialThread?: string | null;
  frameTitle?: string;
  header?: any;
  history?: { enabled?: boolean; showRename?: boolean; showDelete?: boolean };
  startScreen?: { greeting?: string; prompts?: any[] };
  composer?: ComposerOptions;
  disclaimer?: { text: string; highContrast?: boolean };
  threadItemActions?: { feedback?: boolean; retry?: boolean };
  thread?: { autoScroll?: boolean };
  widgets?: { onAction?: (action: any, item: any) => unknown };
  entities?: {
    onTagSearch?: (query: string) => Promise<Entity[]>;
    showComposerMenu?: boolean;
    onClick?: (entity: Entity) => void;
    onRequestPreview?: (entity: Entity) => Promise<{ preview: Component | null }>;
  };
  commands?: {
    enabled?: boolean;
    onSearch?: (query: string) => Promise<Command[]>;
    /** What is chosen is put in, offers more to choose from, or does something in the page. */
    onSelect?: (
      command: Command,
    ) => Promise<
      | void
      | null
      | { type: "entity"; entity: Entity }
      | { type: "menu"; commands: Command[] }
    >;
  };
  onClientTool?: (call: { name: string; params: any }) => any;
}

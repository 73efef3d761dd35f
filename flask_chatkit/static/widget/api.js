// The options of ChatKit's element: where its calls go, and what it calls of the page.

import { pressSiteButton } from "./header.js";
import { localeOf } from "./i18n.js";
import { closePanel } from "./panel.js";
import {
  credentialsOf,
  csrfHeader,
  failure,
  firstSecret,
  freshSecret,
  getClientSecret,
  loadEntry,
} from "./secrets.js";
import { pageFunction } from "./state.js";

/** @typedef {import("./state.js").Widget} Widget */
/** @typedef {import("./state.js").Config} Config */
/**
 * @typedef {object} Reports what the element's first calls tell of it; they come from the element
 *   that the options were made for, as long as it is the widget's
 * @property {(widget: Widget) => void} onReady
 * @property {(widget: Widget, error: any) => void} onFailure
 */

/**
 * @param {Widget} widget
 * @param {Reports} reports
 */
const hostedApi = (widget, { onReady, onFailure }) => {
  const { config, element } = widget;
  return {
    /** @param {string | null} current */
    getClientSecret: async (current) => {
      clearTimeout(widget.watchdog);
      try {
        const secret = await (current ? getClientSecret(config, current) : firstSecret(widget));
        if (widget.element === element) onReady(widget);
        return secret;
      } catch (error) {
        if (widget.element === element) onFailure(widget, error);
        throw error;
      }
    },
  };
};

/**
 * @param {Widget} widget
 * @param {Reports} reports
 */
const servedApi = (widget, reports) => {
  const { config } = widget;
  const { page, domainKey, upload } = config;
  const credentials = credentialsOf(config);
  return {
    url: `${page}api`,
    domainKey,
    /**
     * @param {RequestInfo} input
     * @param {RequestInit} [init]
     */
    fetch: async (input, init) =>
      fetchAsVisitor(widget, reports, new Request(input, { ...init, credentials })),
    ...(upload && {
      uploadStrategy: {
        type: upload,
        ...(upload === "direct" && { uploadUrl: `${page}attachments` }),
      },
    }),
  };
};

/**
 * Send a request of the element with the visitor's token. One that is not good any more, or not this
 * visitor's, is answered by 401, and made anew once.
 * @param {Config} config
 * @param {Request} request
 */
const sendWithToken = async (config, request) => {
  for (const [name, value] of Object.entries(csrfHeader(config))) request.headers.set(name, value);
  /** @param {string} token */
  const send = (token) => {
    const copy = request.clone();
    copy.headers.set("Authorization", `Bearer ${token}`);
    return fetch(copy);
  };
  const token = freshSecret(loadEntry(config)) ?? (await getClientSecret(config, null));
  const response = await send(token);
  return response.status === 401 ? send(await getClientSecret(config, token)) : response;
};

/**
 * What the element of a served chat calls in fetch's place.
 * @param {Widget} widget
 * @param {Reports} reports
 * @param {Request} request
 */
const fetchAsVisitor = async (widget, { onReady, onFailure }, request) => {
  const { config, element } = widget;
  clearTimeout(widget.watchdog);
  try {
    const response = await sendWithToken(config, request);
    if (widget.element === element) onReady(widget);
    return response;
  } catch (error) {
    const { name } = /** @type {Error} */ (error);
    // Stop is an abort, and a chat that has shown something reports its own failures.
    if (name !== "AbortError" && widget.element === element && !widget.isReady) {
      onFailure(widget, error instanceof TypeError ? failure("offline") : error);
    }
    throw error;
  }
};

/**
 * The page's own functions, looked up when the element calls them.
 * @param {Widget} widget
 */
const callbacks = (widget) => ({
  /** @param {{name: string, params: object}} call */
  onClientTool: async ({ name, params }) => {
    const tool = pageFunction(widget, "tools", name);
    if (!tool) throw new Error(`this page has no tool ${JSON.stringify(name)}`);
    return (await tool(params)) ?? {};
  },
  widgets: {
    /**
     * @param {{type: string, payload?: object}} action
     * @param {object} item
     */
    onAction: async ({ type, payload }, item) =>
      pageFunction(widget, "actions", type)?.(payload, item),
  },
});

/**
 * The header of the element, where the panel's own does not take its place.
 * @param {Widget} widget
 * @returns {Record<string, any> | undefined}
 */
const elementHeader = (widget) => {
  const { header } = widget.config.options;
  if (widget.bar && !widget.usesElementHeader) return { enabled: false };
  const shown = { ...header };
  for (const side of ["leftAction", "rightAction"]) {
    const button = shown[side];
    if (!button) continue;
    shown[side] = { icon: button.icon, onClick: () => pressSiteButton(widget, button) };
    // ChatKit's own has no place for a label, and stays blank if there is one.
    if (button.label && "builtin" in widget.root.dataset) shown[side].label = button.label;
  }
  if (widget.usesElementHeader) {
    const side = shown.rightAction ? "leftAction" : "rightAction";
    shown[side] = { icon: "close", onClick: () => closePanel(widget) };
  }
  return header || widget.usesElementHeader ? shown : undefined;
};

/**
 * All options of the element; each call of setOptions() replaces those before.
 * @param {Widget} widget
 * @param {Reports} reports
 */
export const elementOptions = (widget, reports) => {
  const { config, theme, thread } = widget;
  /** @type {Record<string, any>} */
  const options = {
    ...config.options,
    ...callbacks(widget),
    locale: localeOf(config),
    header: elementHeader(widget),
    theme,
    api: config.served ? servedApi(widget, reports) : hostedApi(widget, reports),
  };
  if (thread !== undefined) options.initialThread = thread;
  for (const name of ["header", "locale"]) if (options[name] === undefined) delete options[name];
  return options;
};

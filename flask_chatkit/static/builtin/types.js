// The types of what the modules pass to each other; there is no code here.

/** @typedef {Record<string, string>} Strings the words of the chat: key → text */

/**
 * @typedef {{id: string, type: string, [key: string]: any}} Item of a thread, as the server has it
 */

/**
 * @typedef {object} Thread as the server has it
 * @property {string} id
 * @property {string | null} [title]
 * @property {string} [created_at]
 * @property {{type: string, reason?: string | null}} [status]
 * @property {string[]} [allowed_image_domains]
 */

/** @typedef {{type: string, id?: string, [key: string]: any}} Component of a widget */

/**
 * @typedef {object} Action of a widget
 * @property {string} type
 * @property {Record<string, any>} [payload]
 * @property {"server" | "client"} [handler]
 * @property {"auto" | "none" | "self" | "container"} [loadingBehavior]
 * @property {boolean} [streaming] false for a call that is answered by one item
 */

/**
 * @typedef {{id: string, name: string, type?: string, [key: string]: any}} Attachment
 */

/**
 * @typedef {object} Request a call to the server that it answers by a stream
 * @property {string} type
 * @property {Record<string, any>} params
 * @property {string} [sent] the id that the visitor's message has until the server gives it one
 */

/**
 * @typedef {object} Run an answer that is coming in
 * @property {AbortController} abort
 * @property {boolean} canStop
 * @property {boolean} got whether anything has arrived
 * @property {Request | null} request
 * @property {Set<string>} started the ids of the items that came
 * @property {any} [progress] what the server does meanwhile
 * @property {boolean} [calling] whether a client tool runs
 */

/**
 * @typedef {object} Entry an item, and what shows it
 * @property {Item} item
 * @property {boolean} streaming whether more of it is coming
 * @property {boolean} unsent whether the server has not got it
 * @property {Set<string> | null} changed the ids of the components that changed; null for all
 * @property {HTMLElement | null} row
 * @property {HTMLElement | null} body
 * @property {HTMLElement | null} bar the actions below it
 * @property {DrawContext | null} context
 */

/**
 * @typedef {object} DrawContext what drawing an item needs
 * @property {Strings} text
 * @property {string} id of the item
 * @property {boolean} dark
 * @property {boolean} streaming
 * @property {Map<string, string>} labels of a widget's fields: name → text
 * @property {Map<string, {node: any, component: Component}>} parts of a widget, by their ids
 * @property {(node: Element, markdown: string) => void} markdown
 * @property {any} shown what shows the item so far
 * @property {(action: Action, control: any, values?: Record<string, any>, form?: any) => void} act
 * @property {(item: Item, input: Record<string, any>) => void} answer
 */

/**
 * @typedef {object} HeldFile a file in the composer
 * @property {string} name
 * @property {File} [file] none if the page put a finished attachment there
 * @property {"busy" | "done" | "failed"} [state]
 * @property {Attachment} [attachment]
 * @property {AbortController} [abort]
 */

/**
 * @typedef {object} Message what is sent
 * @property {any[]} content
 * @property {Attachment[]} attachments
 * @property {string | null} [quote]
 * @property {string} [tool]
 * @property {string} [model]
 */

/**
 * @typedef {object} Theme ChatKit's option
 * @property {"light" | "dark"} [colorScheme]
 * @property {any} [color]
 * @property {any} [typography]
 * @property {string} [radius]
 * @property {string} [density]
 */

/**
 * @typedef {object} Api
 * @property {string} url
 * @property {typeof fetch} [fetch]
 * @property {{type: "direct", uploadUrl: string} | {type: "two_phase"}} [uploadStrategy]
 */

/**
 * @typedef {object} AttachmentOptions
 * @property {boolean} [enabled]
 * @property {number} [maxCount]
 * @property {number | Record<string, number>} [maxSize] bytes, for all or by MIME type
 * @property {Record<string, string[]>} [accept] MIME type → extensions
 */

/**
 * @typedef {object} ComposerOptions
 * @property {string} [placeholder]
 * @property {AttachmentOptions} [attachments]
 * @property {{id: string, label: string, placeholderOverride?: string, persistent?: boolean}[]} [tools]
 * @property {{id: string, label: string, default?: boolean, disabled?: boolean}[]} [models]
 */

/**
 * @typedef {object} Options ChatKit's, as far as this chat uses them
 * @property {Api} api
 * @property {string} [locale]
 * @property {"light" | "dark" | Theme} [theme]
 * @property {string | null} [initialThread]
 * @property {string} [frameTitle]
 * @property {any} [header]
 * @property {{enabled?: boolean, showRename?: boolean, showDelete?: boolean}} [history]
 * @property {{greeting?: string, prompts?: any[]}} [startScreen]
 * @property {ComposerOptions} [composer]
 * @property {{text: string, highContrast?: boolean}} [disclaimer]
 * @property {{feedback?: boolean, retry?: boolean}} [threadItemActions]
 * @property {{autoScroll?: boolean}} [thread]
 * @property {{onAction?: (action: any, item: any) => unknown}} [widgets]
 * @property {(call: {name: string, params: any}) => any} [onClientTool]
 */

export {};

// The addresses of this application, which may be served below a path of its host.

const { rootPath } = document.body.dataset;

/** Return the path below the root path: `/app/login` for `/login`. */
export const pathOf = (route) => rootPath + route;

/** Return a name that another application on the same host, with its own root path, does not use. */
export const nameHere = (name) => `${name}${rootPath && ` ${rootPath}`}`;

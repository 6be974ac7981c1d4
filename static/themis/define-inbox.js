import { ThemisBellElement } from "./bell.js";
import { ThemisInboxElement } from "./inbox.js";

// The bell first, wherever it stands: the list joins it.
ThemisBellElement.define();
ThemisInboxElement.define();

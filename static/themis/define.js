import { ThemisBellElement } from "./bell.js";
import { ThemisInboxElement } from "./inbox.js";

ThemisBellElement.define();
ThemisInboxElement.define();

import { DesktopElement } from "./desktop-element.js";

DesktopElement.define();

import { ThemisBellElement } from "./bell.js";

ThemisBellElement.define();

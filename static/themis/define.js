import { ThemisBellElement } from "./bell.js";
import { ListAgeElement } from "./list-age.js";

ListAgeElement.define();
ThemisBellElement.define();

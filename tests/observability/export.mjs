// Writes the JSON Schemas of Grafana's types: of a dashboard, and of the options and the
// field settings of each kind of panel. Usage: node export.mjs FOLDER OUTPUT
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [folder, output] = process.argv.slice(2);
const { createGenerator } = createRequire(join(folder, "package.json"))(
  "ts-json-schema-generator",
);
// the types that each panel declares; without field settings it allows none
const panels = {
  bargauge: { options: "Options" },
  stat: { options: "Options" },
  statetimeline: { options: "Options", custom: "FieldConfig" },
  table: { options: "Options", custom: "FieldConfig" },
  timeseries: { options: "Options", custom: "FieldConfig" },
};

function schema(part, type) {
  const types = join(folder, "node_modules/@grafana/schema/dist/types/raw");
  const path = join(types, part, "types.gen.d.ts");
  const settings = { path, type, skipTypeCheck: true, additionalProperties: false };
  return createGenerator(settings).createSchema(type);
}

const found = { dashboard: schema("dashboard/x", "Dashboard"), panels: {} };
for (const [panel, parts] of Object.entries(panels)) {
  found.panels[panel] = {};
  for (const [part, type] of Object.entries(parts)) {
    found.panels[panel][part] = schema(`composable/${panel}/panelcfg/x`, type);
  }
}
writeFileSync(output, JSON.stringify(found));

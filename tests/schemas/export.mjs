// Usage: node export.mjs OUTPUT.json
//
// The @kubernetes-models packages carry no JSON schemas, only the validators that
// ajv compiled from them. The compiled form is regular (one function per subschema,
// one object literal per keyword), so the schemas are read back from its syntax
// tree. Anything of another form is an error: a half-read schema would pass too much.
// "null" is left out: the packages allow it for every optional field, the CRDs do not.
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "acorn";

const MODULES = join(dirname(fileURLToPath(import.meta.url)), "node_modules");
const KEDA = "keda/_schemas/ComGithubKedacoreKedaV2ApisKedaV1alpha1";
const MONITORING =
  "prometheus-operator/_schemas/ComGithubPrometheusOperatorPrometheusOperatorPkgApisMonitoringV1";
const KINDS = {
  "karpenter.sh/v1/NodePool": "karpenter/_schemas/IoK8sSigsKarpenterPkgApisV1NodePool",
  "karpenter.k8s.aws/v1/EC2NodeClass":
    "karpenter/_schemas/ComGithubAwsKarpenterProviderAwsPkgApisV1EC2NodeClass",
  "keda.sh/v1alpha1/ScaledObject": `${KEDA}ScaledObject`,
  "keda.sh/v1alpha1/TriggerAuthentication": `${KEDA}TriggerAuthentication`,
  "keda.sh/v1alpha1/ClusterTriggerAuthentication": `${KEDA}ClusterTriggerAuthentication`,
  "monitoring.coreos.com/v1/PodMonitor": `${MONITORING}PodMonitor`,
  "monitoring.coreos.com/v1/ServiceMonitor": `${MONITORING}ServiceMonitor`,
  "monitoring.coreos.com/v1/PrometheusRule": `${MONITORING}PrometheusRule`,
};
// The pattern that the CRDs give every quantity; the packages name it a format only.
const QUANTITY =
  "^(\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))" +
  "(([KMGTPE]i)|[numkMGTPE]|([eE](\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))))?$";
const LIMITS = [
  "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems",
  "minProperties", "maxProperties",
];

function* nodes(tree) {
  if (Array.isArray(tree)) for (const item of tree) yield* nodes(item);
  else if (tree && typeof tree === "object") {
    if (typeof tree.type === "string") yield tree;
    for (const value of Object.values(tree)) yield* nodes(value);
  }
}

const literal = (node) => {
  if (node.type === "Literal") return node.value;
  if (node.type === "ArrayExpression") return node.elements.map(literal);
  if (node.type === "UnaryExpression" && node.operator === "-") return -literal(node.argument);
  if (node.type === "UnaryExpression" && node.operator === "!") return !literal(node.argument);
  throw new Error(`not a literal: ${node.type}`);
};

const fields = (object) =>
  Object.fromEntries(object.properties.map((p) => [p.key.name ?? p.key.value, p.value]));

/** Where a module's compiled schema lives: beside it, or in another package. */
const locate = (path, specifier) =>
  (specifier.startsWith(".") ? join(dirname(path), specifier) : join(MODULES, specifier))
    .replace(/(\.js)?$/, ".js");

const schemas = new Map();
function schemaOf(path) {
  if (schemas.get(path) === null) throw new Error(`${path} refers to itself`);
  if (!schemas.has(path)) {
    schemas.set(path, null);
    schemas.set(path, readModule(path));
  }
  return schemas.get(path);
}

function readModule(path) {
  const tree = parse(readFileSync(path, "utf8"), { ecmaVersion: "latest", sourceType: "module" });
  const imports = new Map();
  const functions = new Map();
  const values = new Map();
  let root;
  for (const statement of tree.body) {
    if (statement.type === "ImportDeclaration")
      for (const { local } of statement.specifiers) imports.set(local.name, statement.source.value);
    else if (statement.type === "FunctionDeclaration") functions.set(statement.id.name, statement);
    else if (statement.type === "ExportNamedDeclaration")
      root = statement.declaration.declarations[0].init.name;
    else if (statement.type === "VariableDeclaration")
      for (const { id, init } of statement.declarations)
        if (init.type === "ArrayExpression") values.set(id.name, literal(init));
  }

  const called = (name) => {
    if (imports.has(name)) return schemaOf(locate(path, imports.get(name)));
    return readFunction(functions.get(name));
  };

  function keyword(schema, { keyword, params }) {
    const name = literal(keyword);
    const given = fields(params);
    if (name === "type") schema.type = literal(given.type);
    else if (name === "format") {
      schema.format = literal(given.format);
      if (schema.format === "quantity") schema.pattern = QUANTITY;
    }
    else if (name === "pattern") schema.pattern = literal(given.pattern);
    else if (name === "required") (schema.required ??= []).push(literal(given.missingProperty));
    else if (name === "enum")
      schema.enum = values.get(given.allowedValues.name) ?? literal(given.allowedValues);
    else if (name === "oneOf") schema.oneOf = [];
    else if (LIMITS.includes(name)) schema[name] = literal(given.limit);
    else throw new Error(`${path}: keyword ${name} is not understood`);
  }

  function child(schema, { callee, arguments: [data] }) {
    const sub = called(callee.name);
    if (data.type === "Identifier") {
      (schema.oneOf ?? (schema.allOf ??= [])).push(sub);
    } else if (!data.computed || data.property.type === "Literal") {
      (schema.properties ??= {})[data.property.name ?? data.property.value] = sub;
    } else if (/^i\d+$/.test(data.property.name)) schema.items = sub;
    else if (/^key\d+$/.test(data.property.name)) schema.additionalProperties = sub;
    else throw new Error(`${path}: a validator is called on data of another form`);
  }

  function readFunction(node) {
    const schema = {};
    const all = [...nodes(node.body)];
    for (const item of all)
      if (item.type === "ObjectExpression") {
        const given = fields(item);
        if (given.keyword) keyword(schema, given);
      }
    for (const item of all)
      if (item.type === "CallExpression" && /^validate\d+$/.test(item.callee.name ?? ""))
        child(schema, item);
    // A bare object is a map of anything; without this it would refuse every key.
    if (schema.type === "object" && !schema.properties && !schema.additionalProperties)
      if (!schema.allOf) schema["x-kubernetes-preserve-unknown-fields"] = true;
    return merge(schema);
  }

  return readFunction(functions.get(root));
}

/** Two schemas that both hold as one: Go structs embedded in one another arrive as
 * allOf, and only a merged list of properties can tell which fields are unknown. */
function merge(schema) {
  const { allOf = [], ...merged } = schema;
  const apart = [];
  for (const part of allOf) {
    const { properties, required, ...rest } = part;
    const clash = (target, source) =>
      Object.keys(source).some(
        (key) => key in target && JSON.stringify(target[key]) !== JSON.stringify(source[key]),
      );
    if (clash(merged, rest) || clash(merged.properties ?? {}, properties ?? {})) {
      if (properties) throw new Error("two embedded structs declare one field differently");
      apart.push(part);
      continue;
    }
    Object.assign(merged, rest);
    if (properties) merged.properties = { ...properties, ...merged.properties };
    if (required) merged.required = [...new Set([...required, ...(merged.required ?? [])])];
  }
  if (apart.length) merged.allOf = apart;
  return merged;
}

const output = process.argv[2];
const kinds = Object.entries(KINDS).map(([kind, path]) => [
  kind,
  schemaOf(join(MODULES, "@kubernetes-models", `${path}.js`)),
]);
mkdirSync(dirname(output), { recursive: true });
writeFileSync(`${output}.part`, JSON.stringify(Object.fromEntries(kinds)));
renameSync(`${output}.part`, output); // a reader never sees half a file

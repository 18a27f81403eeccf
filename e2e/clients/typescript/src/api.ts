// The API as Node sees it: the proto files are loaded at run time, and the types generated from them keep us honest.

import * as grpc from "@grpc/grpc-js";
import * as loader from "@grpc/proto-loader";
import protobuf from "protobufjs";

import type { ProtoGrpcType as LogTypes } from "../gen/log_service.js";
import type { ProtoGrpcType as TopicTypes } from "../gen/topic_service.js";
import type { LogServiceClient } from "../gen/tidelog/v1/LogService.js";
import type { TopicServiceClient } from "../gen/tidelog/v1/TopicService.js";

const FILES = ["tidelog/v1/log_service.proto", "tidelog/v1/topic_service.proto"];
// 64-bit numbers arrive as text, since JavaScript's numbers are exact only to 53 bits.
const LOADING: loader.Options = { longs: String, enums: String, defaults: true, oneofs: true };

export interface Api {
  log: LogServiceClient;
  topics: TopicServiceClient;
}

export function connect(address: string, protoFolder: string): Api {
  const definition = loader.loadSync(FILES, { ...LOADING, includeDirs: [protoFolder] });
  const { tidelog } = grpc.loadPackageDefinition(definition) as unknown as LogTypes & TopicTypes;
  const credentials = grpc.credentials.createInsecure();
  return {
    log: new tidelog.v1.LogService(address, credentials),
    topics: new tidelog.v1.TopicService(address, credentials),
  };
}

export function deadline(): grpc.CallOptions {
  return { deadline: Date.now() + 30_000 };
}

/** Turns a call with a callback into a promise: `unary((done) => log.fetch(request, deadline(), done))`. */
export function unary<T>(call: (done: (error: grpc.ServiceError | null, value?: T) => void) => unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    call((error, value) => (error ? reject(error) : resolve(value as T)));
  });
}

// What gRPC calls rich errors: a message in the trailers. grpc-js leaves it to us to read it.
const details = protobuf.parse(`
  syntax = "proto3";
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
`).root;

export interface ErrorInfo {
  reason: string;
  domain: string;
  metadata: Record<string, string>;
}

/** Why a call failed, in words that programs can rely on. */
export function errorInfo(error: grpc.ServiceError): ErrorInfo | undefined {
  const [bytes] = error.metadata.get("grpc-status-details-bin");
  if (!(bytes instanceof Buffer)) {
    return undefined;
  }
  const status = details.lookupType("Status").decode(bytes).toJSON();
  const any = status.details?.find((one: { type_url?: string; typeUrl?: string }) =>
    (one.typeUrl ?? one.type_url)?.endsWith("/google.rpc.ErrorInfo"),
  );
  return any && (details.lookupType("ErrorInfo").decode(Buffer.from(any.value, "base64")).toJSON() as ErrorInfo);
}

/** A program of others that is told to read a file through a tool call. */
export interface Client {
  /** As it is chosen on the command line: the program, and the dialect where it speaks several. */
  readonly name: string;
  readonly packageName: string;
  readonly dialect: 'Chat Completions' | 'Responses' | 'Messages' | 'Gemini';
  /** It is set up for WebSocket, and would fall back to HTTP by itself. */
  readonly isOverWebSocket?: boolean;
  /** Turns that one tool call and its result take, with those of the client's own (a title). */
  readonly turns: number;
  /** Its bodies have to come compressed. */
  readonly isCompressed?: boolean;
  /** The prompts, one run each in one conversation; the sandbox turns them into calls. */
  prompts(file: string): readonly string[];
  /** What it has to show in the end; by default what the file holds. */
  readonly shows?: string;
  /** What it must not print. */
  readonly warnings?: RegExp;
  /** Writes the configuration it needs and says how it is called. */
  prepare(place: Place): Call;
}

export interface Place {
  /** Its own home, which it may fill as it likes. */
  readonly home: string;
  /** Where it is started, with the file in it. */
  readonly work: string;
  readonly gatewayUrl: string;
  readonly key: string;
  readonly model: string;
  readonly prompt: string;
  /** Another prompt came before in the same conversation. */
  readonly isContinued: boolean;
}

export interface Call {
  readonly command: string;
  readonly words: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly stdin?: string;
}

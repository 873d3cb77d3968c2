/** What settings mean, in Chinese, by name; of others the service's own words are shown. */
export const settingHelp: Readonly<Record<string, string>> = {
  HOST: '网关监听的地址。',
  PORT: '网关的端口；0 表示任取一个空闲端口。',
  POOL_SERVICE_HOST: '账号池监听的地址。',
  POOL_SERVICE_PORT: '账号池的端口；0 表示任取一个空闲端口。',
  POOL_SERVICE_URL: '单独运行的网关到哪里找账号池。未设置时由 POOL_SERVICE_HOST 和 POOL_SERVICE_PORT 得出。',
  USE_POOL_SERVICE: 'false：账号池在网关内部运行，不开放端口。',
  MIN_POOL_SIZE: '可用账号少于此数时，账号池视为不足。',
  MAX_POOL_SIZE: '一个会话最多持有的账号数，也是账号池自动补充的上限。',
  SESSION_TIMEOUT_MINUTES: '会话空闲多少分钟后失去其账号。',
  REFRESH_MIN_INTERVAL_MINUTES: '同一账号两次刷新之间的最少分钟数。只有令牌服务器在本机时才可小于 60。',
  PROVISION_CONCURRENCY: '补充账号时最多同时添加的数量。',
  RETIRE_AFTER_DAYS: '已停用或需要重新登录的账号在多少天后移除；0 表示永久保留。',
  LOG_LEVEL: 'DEBUG、INFO、WARNING、ERROR 或 CRITICAL。',
  LOG_FORMAT: 'json：每行一个 JSON 对象，供程序读取。text：供人阅读。auto：终端中为 text，其他情况为 json。',
  LOG_FILE: '日志文件，代替标准输出；每个进程一个。收到 SIGHUP 时重新打开。',
  LOG_MAX_MB: 'LOG_FILE 达到此大小（MB）时更名为 LOG_FILE.1 并新建；0 表示交由其他程序处理。',
  LOG_KEEP: '保留多少个写满的日志文件。',
  LOG_CONTENT:
    'on：记录客户端发送和模型回答的内容，并在最近的请求中显示。也可填客户端密钥的名称（逗号分隔），只记录它们的。off：不记录内容。',
  LOG_CONTENT_MAX_KB: 'LOG_CONTENT 对提示词和回答各保留的最多字符数（千）；提示词保留最后的消息。',
  LOG_CONTENT_EMAILS: 'yes：LOG_CONTENT 保留的内容中不去除邮箱地址。密钥和令牌总是去除。',
  LOG_CONTENT_REDACT: '正则表达式：匹配的部分从 LOG_CONTENT 保留的内容中去除。',
  DATA_DIR:
    '数据库和密钥文件所在的目录，仅所有者可访问。未设置时为工作目录下的 data；通过 npm 安装的包则为 ~/.local/share/warp2api。',
  LOG_DIR: 'start_services.sh 写入日志和 pid 文件的目录。',
  DATABASE_URL:
    '账号存放位置：sqlite: 加文件名（相对路径位于 DATA_DIR），或 postgres://，供多个账号池共用一个数据库。',
  KEEP_URL:
    '网关存放会话和已保存的响应的位置：memory、sqlite: 加本网关专用的文件，或 postgres:// 供多个网关共用。未设置时：DATABASE_URL 为 PostgreSQL 则用它，否则为 sqlite:gateway.db。',
  GATEWAY_DATABASE_URL:
    '网关存放客户端密钥、预算和用量账本的位置：sqlite: 加本网关专用的文件，或 postgres:// 供多个网关共用。未设置时：DATABASE_URL 为 PostgreSQL 则用它，否则为 sqlite:usage.db。',
  KEEP_MAX_MB: '其上限（MB），磁盘上也是如此；最久未用的先删除。单个条目最多占四分之一且不超过 32 MB。',
  BODIES_MAX_MB: '一个服务同时持有的请求体总量上限（MB）；超出时较大的请求会收到带 Retry-After 的 503。',
  MASTER_KEY: '加密凭据的密钥：32 字节，十六进制或 base64。优先于 MASTER_KEY_FILE。',
  MASTER_KEY_FILE:
    '存放该密钥的文件，仅所有者可读，或位于只读挂载上。未设置时为 DATA_DIR 中的 master.key，首次启动时生成。',
  ADMIN_KEY:
    '管理账号池和查看网关数据的密钥：至少 8 个字符，对外监听时至少 16 个。未设置时，本机上的任何调用者都可执行所有操作。',
  POOL_API_KEY: '供借用账号的程序使用的密钥：只能借用、归还和报告。需要先设置 ADMIN_KEY。',
  GATEWAY_KEY:
    '单独运行的网关向账号池证明身份的密钥，两边相同。未设置时，同一台机器上共用 DATA_DIR 的服务使用首次启动时生成的 gateway.key。',
  API_KEYS: '网关客户端的密钥，用逗号分隔。未设置时接受任意密钥，也可不带密钥。',
  ACCOUNTS_FROM_ENV:
    '提供商名称，用逗号分隔：其密钥取自环境变量并成为账号，例如 openai 取 OPENAI_API_KEY。未设置时不取。',
  ALLOWED_HOSTS: '未设置密钥时，请求还可以使用的主机名，用逗号分隔。',
  CORS_ORIGINS:
    '可以调用网关并读取回答的网页和应用的来源，用逗号分隔，例如 https://chat.example.com、http://localhost:*；null 表示从文件打开的页面，* 表示任意。未设置时没有 CORS 响应头。',
  ALLOW_OPEN_BIND: 'yes：未设置密钥也对本机以外监听。任何能连接的人都可以使用你的账号。',
  CONFIG_FILE:
    'YAML 文件，包含模型的路由与别名、更多提供商和账号来源。未设置时使用存在的 warp2api.yaml。路由、别名和模型在文件修改后以及收到 SIGHUP 时重新读取。',
  HTTP_PROXY: '用于普通 http 的代理；提供商都不使用普通 http，起作用的是 HTTPS_PROXY。',
  HTTPS_PROXY:
    '访问所有提供商、令牌服务器和 webhook 的 HTTP 代理。访问本机和账号池从不经过代理。未设置时使用 ALL_PROXY，否则不用代理。',
  ALL_PROXY: '未设置 HTTP_PROXY 或 HTTPS_PROXY 时使用的 HTTP 代理。',
  NO_PROXY:
    '不经代理访问的主机，用逗号分隔：域名及其下级、地址、10.0.0.0/8 这样的网段，可带端口；* 表示全部。',
  NODE_EXTRA_CA_CERTS: '额外信任的证书的 PEM 文件，例如检查 TLS 的代理的证书。',
  SANDBOX: 'auto：账号池没有账号且只有本机能连接时，由内置上游应答。on：其他机器能连接时也应答。off：从不。',
  STRICT_MODELS:
    'yes：GET /v1/models 未列出且没有别名的模型名返回 404。否则工具内置的名称（claude-*、gpt-* 等）由默认模型回答。',
  MAX_CHOICES: '一个请求最多可要求的回答数（Chat Completions 的 n）。每个回答都是一次单独的请求，费用相同。',
  FETCH_IMAGES: 'yes：获取请求中以地址给出的图片，仅限公共互联网，且从不经过代理。',
  FETCH_IMAGES_ALLOW: '位于内网或使用其他端口、但仍可获取图片的主机（或 主机:端口），用逗号分隔。',
  UPSTREAM_FIRST_EVENT_SECONDS: '上游在首个事件之前最多可用多少秒。',
  SLOW_FIRST_CONTENT_SECONDS: '平均首字延迟超过此秒数时，会话的新对话不再优先使用该会话的账号；0 表示关闭。',
  UPSTREAM_IDLE_SECONDS: '上游在回答中途最多可沉默多少秒。',
  RESPONSES_TTL_HOURS: '已保存的响应可查询和继续的小时数（在空间允许时）。',
  SHUTDOWN_SECONDS: '收到 SIGTERM 后，运行中的请求还可持续多少秒。',
  USAGE_KEEP_DAYS: '用量账本中每个请求的记录保留多少天；0 表示不记账。',
  USAGE_MAX_MB:
    '用量账本中请求记录的大致上限（MB），最早的先删除；一半用于请求本身，一半用于说明其经过的记录。',
  OTEL_EXPORTER_OTLP_ENDPOINT:
    '通过 OTLP/HTTP 接收链路和指标的 OpenTelemetry 收集器，例如 http://127.0.0.1:4318。未设置时不发送，也不加载 OpenTelemetry。',
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT:
    '接收链路的完整地址。未设置时为 OTEL_EXPORTER_OTLP_ENDPOINT 下的 /v1/traces。',
  OTEL_EXPORTER_OTLP_METRICS_ENDPOINT:
    '接收指标的完整地址。未设置时为 OTEL_EXPORTER_OTLP_ENDPOINT 下的 /v1/metrics。',
  OTEL_EXPORTER_OTLP_HEADERS: '发给收集器的请求头：名称=值，用逗号分隔，特殊字符用百分号编码。',
  OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf，唯一支持的协议。',
  OTEL_SERVICE_NAME:
    '链路和指标的 service.name。未设置时为 warp2api；分开运行时为 warp2api-gateway 和 warp2api-pool。',
  OTEL_RESOURCE_ATTRIBUTES: '此进程的其他属性，例如 deployment.environment.name=production。',
  OTEL_TRACES_SAMPLER: '追踪哪些请求。parentbased_ 采样器遵循客户端发来的链路。',
  OTEL_TRACES_SAMPLER_ARG: 'traceidratio 采样器保留的比例，0 到 1。',
  OTEL_METRIC_EXPORT_INTERVAL: '两次导出指标之间的毫秒数。',
  OTEL_SDK_DISABLED: 'true：无论其他设置如何，都不发送链路和指标。',
  TRACE_PROVIDERS:
    '提供商名称，用逗号分隔：其上游会在 traceparent 请求头中收到链路；* 表示全部。未设置时都不发送。',
  WARP_SERVER_URL: 'Warp 的地址；其中的路径会加在各调用路径之前。',
  WARP_API_KEY: '你的 Warp API key；会作为账号加入账号池。',
  WARP_OAUTH_CLIENT_ID: '在 Warp 进行设备登录的 OAuth client id。没有内置：请使用 Warp 提供给你的。',
  WARP_FIREBASE_API_KEY: 'Warp 身份项目的 web API key，换取和刷新令牌时需要。',
  WARP_IDENTITY_URL: '用自定义令牌换取 ID 令牌的地址。',
  WARP_TOKEN_URL: '用刷新令牌换取 ID 令牌的地址。',
  OZ_ENVIRONMENT_ID: 'Oz 账号运行任务所用的 Warp 云环境。未设置时使用普通环境。',
  OZ_RUN_TIMEOUT_SECONDS: 'Oz 账号的一次运行最多可用多少秒，超时则取消。',
};

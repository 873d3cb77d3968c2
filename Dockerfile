# What it makes is the same for every processor.
FROM --platform=$BUILDPLATFORM node:26-slim AS build
WORKDIR /build
COPY .npmrc package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY . .
RUN npm run build
RUN npm ci --ignore-scripts --omit=dev

FROM node:26-slim
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="warp2api" \
      org.opencontainers.image.description="One OpenAI-compatible endpoint in front of the LLM accounts you own" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
WORKDIR /app
COPY --from=build /build/package.json /build/LICENSE ./
COPY --from=build /build/bin bin
COPY --from=build /build/node_modules node_modules
COPY --from=build /build/dist dist
RUN ln -s /app/bin/warp2api.js /usr/local/bin/warp2api && mkdir -m 700 /data && chown 1000:1000 /data
# The first two spare a service its second start (bin/warp2api.js says why).
ENV MALLOC_MMAP_THRESHOLD_=1048576 \
    MALLOC_ARENA_MAX=2 \
    NODE_ENV=production \
    HOST=0.0.0.0 \
    DATA_DIR=/data \
    LOG_FORMAT=json
USER 1000:1000
VOLUME /data
EXPOSE 8018 8019
STOPSIGNAL SIGTERM
# Of the gateway, or of the pool where the container runs that alone.
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 \
  CMD ["node", "-e", "const isPool = /\\0pool\\0?$/.test(require('node:fs').readFileSync('/proc/1/cmdline', 'latin1')); const port = isPool ? process.env.POOL_SERVICE_PORT || 8019 : process.env.PORT || 8018; require('node:http').get({ host: '127.0.0.1', port, path: '/health' }, ({ statusCode }) => process.exit(statusCode === 200 ? 0 : 1)).on('error', () => process.exit(1))"]
ENTRYPOINT ["node", "--max-semi-space-size=8", "/app/bin/warp2api.js"]
CMD ["serve"]

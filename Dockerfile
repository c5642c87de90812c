# One image for every process of newfound; the command after `newfound` says which.
FROM python:3.11.11-slim-bookworm

# Where pip looks besides its default index. The default build of torch for Linux on x86-64 brings CUDA along
# (several GB); for a small CPU image name an index of CPU builds here.
ARG PIP_EXTRA_INDEX_URL=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1

RUN useradd --uid 10001 --create-home newfound \
    && install --directory --owner newfound --group newfound --mode 0711 /var/lib/newfound

WORKDIR /opt/newfound
# What newfound needs changes more rarely than newfound, so it has a layer of its own.
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
        > requirements.txt \
    && pip install --constraint constraints.txt --requirement requirements.txt
COPY README.md LICENSE ./
COPY annotation_ui annotation_ui
COPY demo demo
COPY migrations migrations
COPY model model
COPY server server
COPY worker worker
RUN pip install --no-deps .

USER newfound
ENV NEWFOUND_HOME=/var/lib/newfound NEWFOUND_HOST=0.0.0.0
EXPOSE 8000
ENTRYPOINT ["newfound"]
CMD ["up"]

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TagProducer } from '../../../src/core/stats/tags.ts';

/** `extracted{tag=value,...}` */
function tagged(name: string, producer = new TagProducer()): string {
  const { tagExtractedName, tags } = producer.produce(name);
  return `${tagExtractedName}{${tags.map((tag) => `${tag.name.replace('envoy.', '')}=${tag.value}`).join(',')}}`;
}

test('default tags of the names that a proxy emits', () => {
  const expected: Record<string, string> = {
    'cluster.api.upstream_rq_total': 'cluster.upstream_rq_total{cluster_name=api}',
    'cluster.api.upstream_rq_200': 'cluster.upstream_rq{response_code=200,cluster_name=api}',
    'cluster.api.upstream_rq_5xx': 'cluster.upstream_rq_xx{response_code_class=5,cluster_name=api}',
    'cluster.api.internal.upstream_rq_503': 'cluster.internal.upstream_rq{response_code=503,cluster_name=api}',
    'http.ingress.downstream_rq_2xx': 'http.downstream_rq_xx{response_code_class=2,http_conn_manager_prefix=ingress}',
    'http.ingress.user_agent.ios.downstream_cx_total':
      'http.user_agent.downstream_cx_total{http_user_agent=ios,http_conn_manager_prefix=ingress}',
    'listener.0.0.0.0_10000.downstream_cx_total': 'listener.downstream_cx_total{listener_address=0.0.0.0_10000}',
    'listener.[__1]_80.downstream_cx_total': 'listener.downstream_cx_total{listener_address=[__1]_80}',
    'listener.edge.downstream_cx_total': 'listener.downstream_cx_total{listener_address=edge}',
    'listener.admin.downstream_cx_total': 'listener.admin.downstream_cx_total{}',
    'listener.127.0.0.1_80.http.in.downstream_rq_2xx':
      'listener.http.downstream_rq_xx{response_code_class=2,http_conn_manager_prefix=in,listener_address=127.0.0.1_80}',
    'listener.0.0.0.0_80.worker_1.downstream_cx_total':
      'listener.worker_downstream_cx_total{worker_id=1,listener_address=0.0.0.0_80}',
    'listener.0.0.0.0_80.ssl.ciphers.AES128-SHA': 'listener.ssl.ciphers{ssl_cipher=AES128-SHA,listener_address=0.0.0.0_80}',
    'cluster.x.ssl.versions.TLSv1.3': 'cluster.ssl.versions{ssl_version=TLSv1.3,cluster_name=x}',
    'tcp.db.downstream_cx_total': 'tcp.downstream_cx_total{tcp_prefix=db}',
    'vhost.www.vcluster.search.upstream_rq_time': 'vhost.vcluster.upstream_rq_time{virtual_cluster=search,virtual_host=www}',
    'vhost.www.route.r1.upstream_rq_404': 'vhost.route.upstream_rq{response_code=404,virtual_host=www,route=r1}',
    'connection_limit.c.active_connections': 'connection_limit.active_connections{connection_limit_prefix=c}',
    'server.live': 'server.live{}',
    'cluster_manager.cluster_added': 'cluster_manager.cluster_added{}',
    'cluster.x': 'cluster.x{}',
  };
  for (const [name, text] of Object.entries(expected)) assert.equal(tagged(name), text);
});

test('configured tags: regex, fixed value, chosen defaults', () => {
  const regex = new TagProducer({ statsTags: [{ tagName: 'pod', regex: '(pod\\.([^.]+)\\.)' }] });
  assert.equal(tagged('cluster.a.pod.p1.x', regex), 'cluster.x{cluster_name=a,pod=p1}');
  const fixed = new TagProducer({ useAllDefaultTags: false, statsTags: [{ tagName: 'zone', fixedValue: 'eu' }] });
  assert.equal(tagged('cluster.a.x', fixed), 'cluster.a.x{zone=eu}');
  const chosen = new TagProducer({ useAllDefaultTags: false, statsTags: [{ tagName: 'envoy.cluster_name' }] });
  assert.equal(tagged('cluster.a.upstream_rq_200', chosen), 'cluster.upstream_rq_200{cluster_name=a}');
  assert.throws(() => new TagProducer({ statsTags: [{ tagName: 'nobody' }] }), {
    message: "No regex specified for tag specifier and no default regex for name: 'nobody'",
  });
  assert.throws(() => new TagProducer({ statsTags: [{ tagName: 'x', regex: '(' }] }), RangeError);
});

/** Leaves a uv_poll handle open and exits. */
import { createEventfd, ringEventfd } from '../../../src/core/sys/eventfd.ts';
import { UvPoll } from '../../../src/core/sys/uv_poll.ts';

const fd = createEventfd();
new UvPoll(fd, () => process.exit(7));
ringEventfd(fd);

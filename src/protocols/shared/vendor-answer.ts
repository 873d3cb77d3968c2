import type { AppError, VendorAnswer } from '../../core/errors.ts';
import type { Dialect } from '../../core/protocol.ts';

/** What the upstream said of a relayed request that it refused. */
export function vendorAnswerIn({ vendorAnswer }: AppError, dialect: Dialect): VendorAnswer | undefined {
  return vendorAnswer?.dialect === dialect ? vendorAnswer : undefined;
}
